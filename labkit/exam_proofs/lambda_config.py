"""Proofs on a function's package and configuration, and on testing without AWS."""

from __future__ import annotations

from botocore.stub import Stubber

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of

ENVIRONMENT = "import os\ndef handler(event, context): return os.environ[event]"


def environment_is_replaced(aws: Bench) -> Observations:
    """lambda-06: Environment is set as a whole."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function(
        "orders", ENVIRONMENT, Environment={"Variables": {"TABLE_NAME": "orders"}}
    )

    def configure(**variables: str) -> None:
        awslambda.update_function_configuration(
            FunctionName=function, Environment={"Variables": variables}
        )
        awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)

    see("TABLE_NAME before", aws.invoke(function, "TABLE_NAME"), "orders")
    configure(LOG_LEVEL="DEBUG")
    see("LOG_LEVEL afterwards", aws.invoke(function, "LOG_LEVEL"), "DEBUG", refutes="reserved")
    told = aws.invoke(function, "TABLE_NAME")
    see("TABLE_NAME afterwards", told["errorType"], "KeyError", supports="replaced")
    versions = awslambda.list_versions_by_function(FunctionName=function)["Versions"]
    see("Versions", [v["Version"] for v in versions], ["$LATEST"], refutes="new-version")
    configure(LOG_LEVEL="DEBUG", TABLE_NAME="orders")
    found = [aws.invoke(function, "TABLE_NAME") for _ in range(2)]
    see(
        "With the whole map sent, cold and warm",
        found,
        ["orders"] * 2,
        supports="replaced",
        refutes="cold-start",
    )
    see(
        "A reserved name",
        error_of(
            awslambda.update_function_configuration,
            FunctionName=function,
            Environment={"Variables": {"AWS_REGION": "x"}},
        ),
        "InvalidParameterValueException",
        refutes="reserved",
    )
    return see


def layer_layout(aws: Bench) -> Observations:
    """lambda-07: a Python layer's modules lie in a folder called python."""
    awslambda, see = aws.client("lambda"), Observations()
    code = (
        "import os\n"
        "def handler(event, context):\n"
        "    try:\n"
        "        import common\n"
        "        return common.NAME\n"
        "    except ImportError:\n"
        "        return 'not found, /opt holds ' + ' '.join(sorted(os.listdir('/opt')))"
    )
    found = {}
    for stem, path in (("top", "common.py"), ("folder", "python/common.py")):
        layer = awslambda.publish_layer_version(
            LayerName=aws.name(stem), Content={"ZipFile": aws.zip({path: "NAME = 'shared'"})}
        )
        aws.defer(awslambda.delete_layer_version, LayerName=aws.name(stem), VersionNumber=1)
        arn = layer["LayerVersionArn"]
        function = aws.function(f"with-{stem}", code, Layers=[arn], MemorySize=128)
        found[stem] = aws.invoke(function)
    see("common.py at the top of the zip", found["top"], lambda text: text.startswith("not found"))
    see(
        "It was unpacked all the same",
        found["top"],
        lambda text: "common.py" in text,
        refutes="handler-path",
    )
    see(
        "python/common.py, with 128 MB",
        found["folder"],
        "shared",
        supports="python-folder",
        refutes="layer-limit",
    )
    see(
        "A layer without a version",
        error_of(
            awslambda.update_function_configuration,
            FunctionName=function,
            Layers=[arn.rpartition(":")[0]],
        ),
        lambda code: code != "no error",
        refutes="version",
    )
    return see


def handler_not_found(aws: Bench) -> Observations:
    """lambda-08: the handler's module is looked for from the root of the package."""
    see = Observations()
    code = "def lambda_handler(event, context): return 'ran'"
    handler = {"Handler": "lambda_function.lambda_handler"}
    packed = {"orders/lambda_function.py": code}
    function = aws.function("orders", packed, **handler)
    told = aws.invoke(function)
    see("The folder zipped", told["errorType"], "Runtime.ImportModuleError")
    aws.update_code(function, packed | {"orders/__init__.py": ""})
    told = aws.invoke(function)
    see("With __init__.py", told["errorType"], "Runtime.ImportModuleError", refutes="init-file")
    renamed = {"orders/lambda_function.py": code.replace("lambda_handler", "handler")}
    aws.update_code(function, renamed)
    told = aws.invoke(function)
    see(
        "With the function renamed",
        told["errorType"],
        "Runtime.ImportModuleError",
        refutes="rename-function",
    )
    aws.update_code(function, {"lambda_function.py": code})
    see(
        "The folder's content zipped",
        aws.invoke(function),
        "ran",
        supports="zip-contents",
        refutes="executable",
    )
    return see


def environment_too_large(aws: Bench) -> Observations:
    """lambda-37: all variables together may have 4 KB."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("settings", ENVIRONMENT)

    def configure(*sizes: int) -> str:
        variables = {f"SETTINGS_{n}": "x" * size for n, size in enumerate(sizes)}
        code = error_of(
            awslambda.update_function_configuration,
            FunctionName=function,
            Environment={"Variables": variables},
        )
        if code == "no error":
            awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
        return code

    see(
        "One variable of 9 KB",
        configure(9000),
        "InvalidParameterValueException",
        supports="appconfig",
    )
    see(
        "Three of 3 KB",
        configure(3000, 3000, 3000),
        "InvalidParameterValueException",
        refutes="split",
    )
    see("One of 3 KB, as if compressed", configure(3000), "no error")
    before = awslambda.get_function_configuration(FunctionName=function)["RevisionId"]
    configure(3001)
    after = awslambda.get_function_configuration(FunctionName=function)["RevisionId"]
    see("A change of settings is a change of the function", before != after, True, refutes="zip")
    versions = [
        awslambda.publish_layer_version(
            LayerName=aws.name("layer"), Content={"ZipFile": aws.zip({"settings.json": text})}
        )["Version"]
        for text in ("{}", '{"a": 1}')
    ]
    for version in versions:
        aws.defer(
            awslambda.delete_layer_version, LayerName=aws.name("layer"), VersionNumber=version
        )
    see("In a layer, a change is another version to deploy", versions, [1, 2], refutes="layer")
    return see


def ephemeral_storage(aws: Bench) -> Observations:
    """lambda-38: /tmp has 512 MB by default and its own setting, apart from memory."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("archives", ENVIRONMENT)

    def sizes(**change) -> int:
        if change:
            awslambda.update_function_configuration(FunctionName=function, **change)
            awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
        found = awslambda.get_function_configuration(FunctionName=function)
        return found["EphemeralStorage"]["Size"]

    see("/tmp by default, MB", sizes(), 512)
    see("/tmp with 4 GB of memory", sizes(MemorySize=4096), 512, refutes="memory")
    see(
        "/tmp when asked for",
        sizes(EphemeralStorage={"Size": 4096}),
        4096,
        supports="ephemeral",
        refutes="clean",
    )
    see(
        "More than 10,240 MB",
        error_of(
            awslambda.update_function_configuration,
            FunctionName=function,
            EphemeralStorage={"Size": 10241},
        ),
        lambda code: code != "no error",
    )
    return see


def pinned_library(aws: Bench) -> Observations:
    """lambda-51: a library in the package wins over the runtime's, and nothing else chooses one."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "import boto3\ndef handler(event, context): return boto3.__version__"
    function = aws.function("app", {"index.py": code}, Timeout=30)
    runtime = aws.invoke(function)
    see("The runtime's boto3", runtime, lambda version: version != "1.2.3")
    aws.update_code(function, {"index.py": code, "requirements.txt": "boto3==1.2.3\n"})
    see("With a requirements.txt", aws.invoke(function), runtime, refutes="requirements")
    awslambda.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"BOTO3_VERSION": "1.2.3"}}
    )
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    see("With a variable", aws.invoke(function), runtime, refutes="variable")
    version = awslambda.publish_version(FunctionName=function)["Version"]
    published = aws.invoke(function, Qualifier=version)
    see("In a published version", published, runtime, refutes="publish")
    packaged = {"index.py": code, "boto3/__init__.py": "__version__ = '1.2.3'\n"}
    aws.update_code(function, packaged)
    see("With a boto3 in the package", aws.invoke(function), "1.2.3", supports="package-it")
    return see


def stubbed_client(aws: Bench) -> Observations:
    """lambda-40: a stubbed client answers as told, checks its parameters, and calls nobody."""
    see, dynamodb = Observations(), aws.client("dynamodb", region_name=aws.region)

    def handler(event: dict, client) -> str:
        key = {"OrderId": {"S": event["order"]}}
        return client.get_item(TableName="Orders", Key=key)["Item"]["State"]["S"]

    answer = {"Item": {"State": {"S": "paid"}}}
    expected = {"TableName": "Orders", "Key": {"OrderId": {"S": "7"}}}
    with Stubber(dynamodb) as stub:
        stub.add_response("get_item", answer, expected)
        see(
            "The handler, with a prepared answer",
            handler({"order": "7"}, dynamodb),
            "paid",
            supports="stubber",
        )
        stub.add_response("get_item", answer, expected)
        try:
            handler({"order": "8"}, dynamodb)
            told = "no error"
        except Exception as error:
            told = type(error).__name__
        see("With another parameter", told, "StubAssertionError", supports="stubber")
    see(
        "Without the stub the call goes out",
        error_of(dynamodb.get_item, TableName=aws.name("Orders"), Key=expected["Key"]),
        "ResourceNotFoundException",
        refutes="test-table",
    )
    see(
        "DryRun goes out, too",
        error_of(
            aws.client("lambda").invoke, FunctionName=aws.name("none"), InvocationType="DryRun"
        ),
        "ResourceNotFoundException",
        refutes="dry-run",
    )
    return see
