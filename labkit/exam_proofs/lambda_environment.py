"""Proofs on a function's execution environment: what it keeps, and how long it may run."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of


def state_leaks(aws: Bench) -> Observations:
    """lambda-21: what the module holds lives as long as its environment."""
    see = Observations()
    leaking = (
        "warnings = []\n"
        "def handler(event, context):\n"
        "    warnings.append(event['customer'])\n"
        "    return warnings"
    )
    function = aws.function("leaking", leaking)
    see("For Ann", aws.invoke(function, {"customer": "Ann"}), ["Ann"])
    see(
        "For Bob",
        aws.invoke(function, {"customer": "Bob"}),
        ["Ann", "Bob"],
        supports="reused",
        refutes="parallel payload",
    )
    aws.update_code(function, leaking + "  # deployed again")
    see(
        "For Carol, in a new environment",
        aws.invoke(function, {"customer": "Carol"}),
        ["Carol"],
        supports="reused",
        refutes="sync",
    )
    clean = "def handler(event, context):\n    warnings = [event['customer']]\n    return warnings"
    aws.update_code(function, clean)
    found = [aws.invoke(function, {"customer": name}) for name in ("Ann", "Bob")]
    see("With the list in the handler", found, [["Ann"], ["Bob"]], supports="reused")
    return see


def init_once(aws: Bench) -> Observations:
    """lambda-22: code outside the handler runs once for each environment."""
    see = Observations()
    code = (
        "import os\n"
        "loads = 0\n"
        "def load():\n"
        "    global loads\n"
        "    loads += 1\n"
        "    return 'model'\n"
        "{outside}\n"
        "def handler(event, context):\n"
        "    {inside}\n"
        "    return [model, loads]"
    )
    function = aws.function("outside", code.format(outside="model = load()", inside="pass"))
    found = [aws.invoke(function)[1] for _ in range(3)]
    see("Loaded outside the handler: loads so far", found, [1, 1, 1], supports="outside-handler")
    aws.update_code(function, code.format(outside="", inside="model = load()"))
    found = [aws.invoke(function)[1] for _ in range(3)]
    see("Loaded in the handler: loads so far", found, [1, 2, 3])
    from_file = (
        "    kept = os.path.exists('/tmp/model')\n"
        "    open('/tmp/model', 'a').write('model')\n"
        "    model = load()\n"
        "    return [kept, loads]"
    )
    inside = code.split("    {inside}")[0].format(outside="") + from_file
    aws.update_code(function, inside)
    found = [aws.invoke(function) for _ in range(2)]
    see("Kept in /tmp: there, but loaded each time", found, [[False, 1], [True, 2]], refutes="tmp")
    huge = {"Variables": {"MODEL": "x" * 20_000}}
    see(
        "As an environment variable of 20 KB",
        error_of(
            aws.client("lambda").update_function_configuration,
            FunctionName=function,
            Environment=huge,
        ),
        "InvalidParameterValueException",
        refutes="env-variable",
    )
    return see


def remaining_time(aws: Bench) -> Observations:
    """lambda-28: the context tells how much time is left; nothing is raised at the end."""
    see = Observations()
    code = (
        "import os, threading\n"
        "def handler(event, context):\n"
        "    done = 0\n"
        "    try:\n"
        "        while not event.get('careful') or context.get_remaining_time_in_millis() > 500:\n"
        "            threading.Event().wait(0.1)\n"
        "            done += 1\n"
        "    except BaseException as error:\n"
        "        return repr(error)\n"
        "    return {'done': done, 'variable': os.environ.get('AWS_LAMBDA_TIMEOUT')}"
    )
    function = aws.function("list", code, Timeout=1)
    told = aws.invoke(function, {"careful": True})
    see(
        "Asking for the remaining time: items done",
        told["done"],
        lambda n: n >= 1,
        supports="remaining",
    )
    see("AWS_LAMBDA_TIMEOUT", told["variable"], None, refutes="env-timeout")
    told = aws.invoke(function, {})
    see(
        "Waiting for an exception",
        told.get("errorMessage", ""),
        lambda text: "timed out" in text,
        refutes="except",
    )
    echo = aws.function("echo", "def handler(event, context): return event")
    see("The event that arrives", aws.invoke(echo, {"a": 1}), {"a": 1}, refutes="deadline-event")
    return see


def timed_out(aws: Bench) -> Observations:
    """lambda-05: a function that is not done in time is stopped, three seconds by default."""
    awslambda, see = aws.client("lambda"), Observations()
    code = (
        "import threading\n"
        "def handler(event, context):\n"
        "    threading.Event().wait(1.2)\n"
        "    return 'done'"
    )
    function = aws.function("patient", code)
    default = awslambda.get_function_configuration(FunctionName=function)["Timeout"]
    see("Timeout by default, seconds", default, 3)
    awslambda.update_function_configuration(FunctionName=function, Timeout=1, MemorySize=1769)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    told = aws.invoke(function)
    see(
        "A timeout of 1 s, 1,769 MB",
        told["errorMessage"],
        lambda text: "Task timed out after 1.00 seconds" in text,
        refutes="memory",
    )
    awslambda.update_function_configuration(FunctionName=function, Timeout=10, MemorySize=128)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    see("A timeout of 10 s, 128 MB", aws.invoke(function), "done", supports="timeout")
    see(
        "A timeout of 901 s",
        error_of(awslambda.update_function_configuration, FunctionName=function, Timeout=901),
        lambda code: code != "no error",
    )
    return see
