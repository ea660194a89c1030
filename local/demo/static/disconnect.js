// The dialog before a wearable is disconnected.

import { call } from "./api.js";
import { toast } from "./toast.js";

const $ = (id) => document.getElementById(id);

/** Asks, and disconnects. `closed` returns the focus: the menu that had it is hidden by then. */
export function ask({ user_id, name }, provider, { done, failed, closed }) {
  const dialog = $("disconnect");
  $("disconnect-title").textContent = `Disconnect ${name}?`;
  $("disconnect-text").textContent = `Pulse’s access at ${provider} ends, and no new data arrives. The data that Pulse already has stays. To connect again, you sign in at ${provider}.`;
  $("disconnect-problem").textContent = "";
  $("disconnect-no").onclick = () => dialog.close();
  $("disconnect-yes").textContent = `Disconnect ${name}`;
  $("disconnect-yes").onclick = async () => {
    $("disconnect-yes").disabled = true;
    try {
      await call("DELETE", `/connections/${encodeURIComponent(user_id)}`);
      await done();
      dialog.close();
      toast(`${name} is disconnected`);
    } catch (error) {
      $("disconnect-problem").textContent = `${name} was not disconnected. ${error.message}`;
      if (error.isSignedOut) dialog.close();
      failed(error);
    } finally {
      $("disconnect-yes").disabled = false;
    }
  };
  dialog.onclose = closed;
  dialog.showModal();
}
