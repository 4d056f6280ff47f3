"""First code of an execution environment: hands over to AWS's runtime interface client.

Runs inside the environment with nothing of the lab importable. Where package and layers do not lie
in AWS's places, its one argument says in JSON where they do (``task``, ``opt``), and whether
standard input is a lifeline to the server (``lifeline``).
"""

import os
import sys


def follow_lifeline() -> None:
    """End this process when standard input does: the server at its other end is gone.

    Afterwards standard input is empty, as on AWS.
    """
    import _thread

    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def watch() -> None:
        try:
            while os.read(lifeline, 1):
                pass
        finally:
            if hasattr(os, "killpg"):
                os.killpg(0, 9)
            os._exit(1)

    _thread.start_new_thread(watch, ())


def main() -> None:
    """Set the module search path as AWS does and run the handler's loop."""
    here = os.path.dirname(os.path.abspath(__file__))
    if os.environ.get("LC_CTYPE") == "C.UTF-8":
        # The interpreter's own doing where the locale is not installed.
        del os.environ["LC_CTYPE"]
    # The interpreter runs without its site module, which would show the whole installation.
    sys.path[:] = [here] + [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    import site

    site.setquit()
    site.sethelper()
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    task_root = os.environ["LAMBDA_TASK_ROOT"]
    layers = "/opt"
    if len(sys.argv) > 1:
        import json

        import task_import

        places = json.loads(sys.argv[1])
        task_root, layers = places["task"], places["opt"]
        if places["lifeline"]:
            follow_lifeline()
        task_import.install({task_root: "/var/task", layers: "/opt"})
    declared = os.environ["AWS_EXECUTION_ENV"].rpartition("_")[2]
    found = [
        task_root,
        os.path.join(layers, "python", "lib", declared, "site-packages"),
        os.path.join(layers, "python"),
    ]
    sys.path[:0] = [found[0], *(entry for entry in found[1:] if os.path.isdir(entry))]
    sys.argv[1:] = []
    client = LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
    bootstrap.run(os.environ["_HANDLER"], client)


if __name__ == "__main__":
    main()
