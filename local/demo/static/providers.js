// The names and logos of the providers, as in GET /providers.

import { call } from "./api.js";

const known = new Map();
export const nameOf = (provider) => known.get(provider)?.name ?? provider ?? "Your wearable";

/** Reads them once. */
export async function loadProviders() {
  if (known.size > 0) return;
  for (const one of (await call("GET", "/providers")).providers) known.set(one.resource, one);
}

/** Shows the provider's logo, and its first letter until the logo is there, or if there is none. */
export function logo(place, provider) {
  const url = known.get(provider)?.icon_url;
  const shown = `${provider} ${url}`;
  if (place.dataset.shown === shown) return;
  place.dataset.shown = shown;
  place.textContent = nameOf(provider)[0];
  if (!url) return;
  const image = Object.assign(new Image(), { alt: "", src: url });
  image.addEventListener("load", () => place.replaceChildren(image));
}
