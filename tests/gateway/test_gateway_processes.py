"""The processes that functions run in: their environment, their termination, and their number."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from local.gateway import FunctionError, Gateway, StartError
from local.gateway.http_server import listen
from local.gateway.runtime_api import Invocation, RuntimeApi
from local.gateway.workers import Runtime
from tests.support.gateway import Running, serving, until
from tests.support.processes import command_line, descendants
from tests.support.waiting import BUSY


def echoes(project: Path) -> int:
    """Return the number of processes of this project's function Echo."""
    lines = [command_line(process) for process in descendants(os.getpid())]
    return sum(str(project / "functions" / "echo") in line and "worker.py" in line for line in lines)


INTERNAL = {"message": "Internal Server Error"}
ROOT = Path(__file__).resolve().parents[2]


class TestEnvironment:
    def test_the_environment_has_only_the_variables_of_lambda_and_the_template(
        self, project: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        with serving(project, runtime=runtime) as api:
            environment = api.report()["environment"]
        assert environment.pop("AWS_LAMBDA_RUNTIME_API").startswith("127.0.0.1:")
        assert environment.pop("_X_AMZN_TRACE_ID").startswith("Root=1-")
        assert environment == {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_DEFAULT_REGION": "eu-north-1",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_NAME": "Act",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/Act",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_REGION": "eu-north-1",
            "GREETING": "hello",
            "HOME": str(project / "scratch" / "home"),
            "LAMBDA_TASK_ROOT": str(project / "functions" / "act"),
            "LANG": "en_US.UTF-8",
            "LIMIT": "7",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TABLE": "things-table",
            "TZ": ":UTC",
            "WHERE": "eu-north-1/things-table/${literal}",
            "_HANDLER": "handler.lambda_handler",
        }

    def test_the_module_path_equals_that_of_lambda(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            report = api.report()
            again = api.report()
        assert report["path"][:2] == [str(project / "functions" / "act"), str(project / "layers" / "shared")]
        assert sysconfig.get_path("purelib") in report["path"][2:]
        assert not [folder for folder in report["path"] if Path(folder) in {ROOT, ROOT / "local" / "gateway"}]
        assert not [name for name in report["modules"] if name == "local" or name.startswith("local.")]
        assert ("awslambdaric" in report["modules"]) == (runtime == "awslambdaric")
        assert report["folder"] == str(project / "functions" / "act")
        assert report["argv"][1:] == ["handler.lambda_handler"]
        assert (report["calls"], again["calls"]) == (1, 2), "one process serves one event after the other"

    def test_the_context_equals_that_of_lambda(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            context = api.report()["context"]
        assert context["arn"] == "arn:aws:lambda:eu-north-1:000000000000:function:Act"
        assert context["name"] == "Act"
        assert context["version"] == "$LATEST"
        assert context["memory"] == "256"
        assert context["log_group"] == "/aws/lambda/Act"
        assert len(context["request_id"]) == 36
        assert 0 < context["remaining"] <= 2000

    def test_byte_code_is_not_written_to_the_source_folders(self, project: Path) -> None:
        with serving(project) as api:
            assert api.report()["pycache_prefix"] == str(project / "scratch" / "pycache")
        assert not list((project / "functions").rglob("__pycache__"))
        assert not list((project / "layers").rglob("__pycache__"))

    def test_output_is_logged_line_by_line(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            assert api.act("print").status_code == 200
            assert api.logged("[Act] a line on stdout")
            assert api.logged("[Act] a line on stderr")
            assert api.logged("a line by logging")

    def test_a_function_can_be_invoked_by_name(self, api: Running) -> None:
        future = asyncio.run_coroutine_threadsafe(api.gateway.invoke("Echo", {"detail": 1}), api.loop)
        assert future.result(10) == {"detail": 1}
        failing = asyncio.run_coroutine_threadsafe(api.gateway.invoke("Answer", {}), api.loop)
        with pytest.raises(FunctionError, match="KeyError"):
            failing.result(10)


class TestFailures:
    def test_an_exception_returns_500_and_keeps_the_process(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            pid = api.report()["pid"]
            response = api.act("raise")
            assert (response.status_code, response.json()) == (500, INTERNAL)
            assert api.logged("[Act] raised an exception: ValueError: it broke")
            assert api.logged("in lambda_handler"), "the traceback is in the log"
            assert api.report()["pid"] == pid

    def test_a_result_that_is_not_json_returns_500(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            assert api.act("unserializable").status_code == 500
            assert api.logged("not JSON serializable")

    def test_a_crash_returns_500_and_the_next_request_gets_a_new_process(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            pid = api.report()["pid"]
            response = api.act("exit")
            assert (response.status_code, response.json()) == (500, INTERNAL)
            assert api.logged("[Act] ended in the middle of an invocation: exit status 7")
            assert api.report()["pid"] != pid

    @pytest.mark.parametrize("do", ["sleep", "spin"])
    def test_the_timeout_ends_the_process(self, project: Path, runtime: Runtime, do: str) -> None:
        with serving(project, runtime=runtime) as api:
            pid = api.report()["pid"]
            begun = time.monotonic()
            response = api.act(do, seconds=60)
            assert (response.status_code, response.json()) == (500, INTERNAL)
            assert 2 <= time.monotonic() - begun < 2 + BUSY
            assert api.logged("[Act] timed out: after 2 s")
            assert api.report()["pid"] != pid

    def test_a_process_that_ended_while_idle_is_replaced(self, project: Path) -> None:
        with serving(project, workers=1) as api:
            pid = api.act("die-later").json()["pid"]
            assert until(lambda: not is_running(pid))
            assert api.report()["pid"] != pid
            assert not [line for line in api.log if "ended in the middle" in line]

    def test_a_response_over_6_mb_returns_500(self, project: Path, runtime: Runtime) -> None:
        with serving(project, runtime=runtime) as api:
            assert len(api.act("big", bytes=6 * 1024 * 1024).content) == 6 * 1024 * 1024
            response = api.act("big", bytes=6 * 1024 * 1024 + 200)
            assert (response.status_code, response.json()) == (500, INTERNAL)
            assert api.logged("[Act] returned more than 6 MB")
            assert api.act().status_code == 200

    def test_a_slow_function_returns_503_and_continues(self, project: Path) -> None:
        mark = project / "mark"
        with serving(project, integration_timeout=timedelta(seconds=0.3)) as api:
            response = api.act("sleep", seconds=1, mark=str(mark))
            assert response.status_code == 503
            assert response.json() == {"message": "Service Unavailable"}
            assert api.logged("[Act] took longer than the API waits")
            assert until(mark.exists)
            assert until(lambda: api.act().status_code == 200)

    def test_a_request_that_times_out_in_the_queue_is_not_run(self, project: Path) -> None:
        mark = project / "mark"
        with (
            serving(project, workers=1, integration_timeout=timedelta(seconds=0.3)) as api,
            ThreadPoolExecutor(2) as pool,
        ):
            requests = [pool.submit(api.act, "sleep", seconds=1.8, mark=str(mark)) for _ in range(2)]
            assert [future.result().status_code for future in requests] == [503, 503]
            assert until(lambda: api.act().status_code == 200)
            assert mark.read_text() == "slept "


class TestLoading:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("import no_such_module\n", "No module named 'no_such_module'"),
            ("def broken(:\n", "handler.py"),
            ("def helper():\n    return 1 / 0\n\nhelper()\n", "ZeroDivisionError"),
            ("import os\nos._exit(3)\n", "exit status 3"),
            ("nothing = 1\n", "lambda_handler"),
        ],
    )
    def test_a_function_that_cannot_be_loaded_is_reported(
        self, project: Path, runtime: Runtime, source: str, text: str
    ) -> None:
        (project / "functions" / "echo" / "handler.py").write_text(source)
        with (
            serving(project, runtime=runtime) as api,
            pytest.raises(StartError, match=r"^Echo failed to start") as caught,
        ):
            api.load()
        assert text in str(caught.value)

    def test_a_request_uses_the_process_that_is_being_loaded(self, project: Path) -> None:
        handler = project / "functions" / "echo" / "handler.py"
        handler.write_text("import time\ntime.sleep(2)\n" + handler.read_text())
        with serving(project) as api:
            loading = asyncio.run_coroutine_threadsafe(api.gateway.load(), api.loop)
            assert until(lambda: echoes(project) == 1)
            assert api.client.get("/echo").status_code == 200
            assert echoes(project) == 1
            loading.result(60)

    def test_a_start_error_contains_the_traceback_of_the_function(self, project: Path, runtime: Runtime) -> None:
        (project / "functions" / "echo" / "handler.py").write_text("def helper():\n    return 1 / 0\n\nhelper()\n")
        with serving(project, runtime=runtime) as api, pytest.raises(StartError) as caught:
            api.load()
        assert f'File "{project / "functions" / "echo" / "handler.py"}", line 2, in helper' in str(caught.value)

    def test_an_edit_applies_to_the_next_request_and_a_broken_one_returns_500(
        self, project: Path, runtime: Runtime
    ) -> None:
        handler = project / "functions" / "echo" / "handler.py"
        with serving(project, runtime=runtime) as api:
            handler.write_text("def lambda_handler(event, context):\n    return {'edited': 1}\n")
            assert api.client.get("/echo").json() == {"edited": 1}
            handler.write_text("raise RuntimeError('typo')\n")
            response = api.client.get("/echo")
            assert (response.status_code, response.json()) == (500, INTERNAL)
            assert api.logged("[Echo] failed to start: RuntimeError: typo")
            handler.write_text("def lambda_handler(event, context):\n    return {'edited': 2}\n")
            assert api.client.get("/echo").json() == {"edited": 2}

    def test_an_edit_of_the_layer_reloads_the_functions(self, project: Path) -> None:
        with serving(project) as api:
            assert api.report()["version"] == 1
            (project / "layers" / "shared" / "shared_module.py").write_text("VERSION = 22\n")
            assert api.report()["version"] == 22

    def test_a_running_invocation_finishes_after_its_source_changed(self, project: Path) -> None:
        with serving(project) as api, ThreadPoolExecutor(1) as pool:
            began = project / "began"
            slow = pool.submit(api.act, "sleep", seconds=1, began=str(began))
            assert until(began.exists)
            (project / "layers" / "shared" / "shared_module.py").write_text("VERSION = 333\n")
            assert api.report()["version"] == 333
            assert slow.result().status_code == 200


class TestConcurrency:
    def test_slow_requests_run_concurrently_up_to_the_limit(self, project: Path) -> None:
        with serving(project, workers=3) as api, ThreadPoolExecutor(7) as pool:
            answers = [pool.submit(api.act, "sleep", seconds=1.5) for _ in range(7)]
            runs = [answer.result().json() for answer in answers]
        assert len({run["pid"] for run in runs}) == 3
        moments = sorted([(run["begun"], 1) for run in runs] + [(run["ended"], -1) for run in runs])
        at_once, most = 0, 0
        for _, change in moments:
            at_once += change
            most = max(most, at_once)
        assert most == 3

    def test_one_process_never_runs_two_invocations(self, project: Path) -> None:
        with serving(project, workers=1) as api, ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(api.act, "sleep", seconds=0.1) for _ in range(4)]
            runs = sorted((answer.result().json() for answer in answers), key=lambda run: float(run["begun"]))
        assert len({run["pid"] for run in runs}) == 1
        assert all(earlier["ended"] <= later["begun"] for earlier, later in pairwise(runs))


class TestStoppingAndPorts:
    def test_a_port_in_use_raises_os_error(self, project: Path) -> None:
        listener = listen("127.0.0.1", 0)
        gateway = Gateway(
            project / "template.yaml",
            parameters={},
            physical_ids={"Things": "t"},
            port=listener.getsockname()[1],
            python=Path(sys.executable),
            dependencies=project,
            directory=project / "scratch",
            environment={},
            on_log=print,
        )
        with listener, pytest.raises(OSError, match="in use"):
            asyncio.run(gateway.start())

    def test_stopping_ends_every_process_including_a_busy_one(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving(project) as api, ThreadPoolExecutor(1) as pool:
            pid = api.report()["pid"]
            began = project / "began"
            pool.submit(api.act, "spin", began=str(began))
            assert until(began.exists)
            url = api.gateway.url
        assert until(lambda: not is_running(pid))
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        assert [record.message for record in caplog.records if record.name == "uvicorn.error"] == []

    def test_a_request_in_flight_gets_500_when_the_gateway_stops(self, project: Path) -> None:
        with serving(project) as api, ThreadPoolExecutor(1) as pool:
            began = project / "began"
            busy = pool.submit(api.act, "spin", began=str(began))
            assert until(began.exists)
            asyncio.run_coroutine_threadsafe(api.gateway.stop(), api.loop).result(30)
            assert busy.result().status_code == 500

    def test_functions_and_their_children_end_when_the_stack_is_killed(self, project: Path, runtime: Runtime) -> None:
        # Each process and its child hold a port. While a port accepts connections, its process still runs.
        handler = textwrap.dedent(
            """
            import socket, subprocess, sys
            held = socket.create_server(("127.0.0.1", 0))
            child = subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=(held.fileno(),)
            )

            def lambda_handler(event, context):
                port = held.getsockname()[1]
                if event["rawQueryString"]:
                    with open(event["queryStringParameters"]["began"], "w") as began:
                        began.write(str(port))
                    while True:
                        child.poll()
                return port
            """
        )
        (project / "functions" / "echo" / "handler.py").write_text(handler)
        began = project / "began"
        stack = textwrap.dedent(
            f"""
            import asyncio, sys, sysconfig
            from pathlib import Path
            from local.gateway import Gateway

            async def main():
                root = Path({str(project)!r})
                gateway = Gateway(root / "template.yaml", parameters={{}}, physical_ids={{"Things": "t"}}, port=0,
                    python=Path(sys.executable), dependencies=Path(sysconfig.get_path("purelib")),
                    directory=root / "scratch", environment={{}}, on_log=lambda line: None, runtime={runtime!r})
                await gateway.start()
                print(gateway.url, flush=True)
                await asyncio.Event().wait()

            asyncio.run(main())
            """
        )
        with subprocess.Popen([sys.executable, "-c", stack], stdout=subprocess.PIPE, text=True, cwd=ROOT) as supervisor:
            assert supervisor.stdout is not None
            try:
                url = supervisor.stdout.readline().strip()
                with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
                    busy = pool.submit(client.get, "/echo", params={"began": str(began)})
                    assert until(lambda: began.exists() and began.read_text() != "")
                    idle_port = client.get("/echo").json()
                    supervisor.kill()
                    assert isinstance(busy.exception(), httpx.TransportError)
            finally:
                supervisor.kill()
        busy_port = int(began.read_text())
        assert busy_port != idle_port
        assert until(lambda: not is_held(busy_port))
        assert until(lambda: not is_held(idle_port))


def is_held(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)  # nothing accepts there: with a full queue a probe would wait for minutes
        return probe.connect_ex(("127.0.0.1", port)) != errno.ECONNREFUSED


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestIdleConnections:
    def test_a_connection_stays_open_during_a_long_invocation(self) -> None:
        async def is_open(seconds: float) -> bool:
            api = RuntimeApi()
            invocation = Invocation(b"{}", "arn", 0)
            api.submit(invocation)
            reader, writer = await asyncio.open_connection(*api.address.split(":"))
            writer.write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"{}")
            await asyncio.wait({asyncio.create_task(reader.read(1))}, timeout=seconds)
            is_open = not reader.at_eof()
            writer.close()
            invocation.succeed(b"{}")
            await api.stop()
            return is_open

        assert asyncio.run(is_open(6)), "uvicorn's default is 5 s"


class TestForeignPages:
    @pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"host": "evil.example"}], ids=str)
    def test_a_foreign_web_page_cannot_receive_an_event(self, headers: dict[str, str]) -> None:
        async def statuses() -> tuple[int, int]:
            api = RuntimeApi()
            invocation = Invocation(b"{}", "arn", 0)
            api.submit(invocation)
            address = f"http://{api.address}/2018-06-01/runtime/invocation/next"
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                foreign, own = [(await client.get(address, headers=given)).status_code for given in (headers, {})]
            invocation.succeed(b"{}")
            await api.stop()
            return foreign, own

        assert asyncio.run(statuses()) == (403, 200)
