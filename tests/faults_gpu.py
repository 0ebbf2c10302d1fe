"""Faults of GPUs and delegates: what is taken for one, what is said, what is done without."""

from __future__ import annotations

from fault import Fault

BACKENDS, GPU = "ds2edge/backends.py", "ds2edge/runtimes/gpu.py"
STDERR, DELEGATE = "ds2edge/runtimes/stderr.py", "ds2edge/runtimes/interpreter.py"
TESTS = "tests/test_gpu.py"

GPU_FAULTS = (
    Fault(
        "a GPU's garbage accepted",
        BACKENDS,
        'None if exact else FLOAT16_TOLERANCE)\n    return replace(loaded, device="gpu"',
        'np.inf)\n    return replace(loaded, device="gpu"',
        (TESTS, "-k", "garbage or stored_answer"),
    ),
    Fault(
        "float16 weights computed exactly",
        BACKENDS,
        'exact = precision == "fp32"\n    with explained()',
        "exact = True\n    with explained()",
        (TESTS, "-k", "which_weights"),
    ),
    Fault(
        "strict forgotten",
        BACKENDS,
        "        if options.strict:\n",
        "        if False:\n",
        (TESTS, "-k", "without_weights or garbage"),
    ),
    Fault(
        "the slower one is taken",
        BACKENDS,
        "        if slow < fast:\n",
        "        if slow > fast:\n",
        (TESTS, "-k", "faster"),
    ),
    Fault(
        "a warning where nobody asked for a GPU",
        BACKENDS,
        'log.info("the CPU is used, not',
        'log.warning("the CPU is used, not',
        (TESTS, "-k", "faster"),
    ),
    Fault(
        "every process tries the GPU anew",
        "ds2edge/transcriber.py",
        'if self._pipeline.loaded.device == "cpu":',
        "if False:",
        (TESTS, "-k", "another_process"),
    ),
    Fault(
        "the reason is asked for twice",
        GPU,
        "        if _no_adapter:\n            raise",
        "        if False:\n            raise",
        (TESTS, "-k", "without_vulkan or the_reason"),
    ),
    Fault(
        "TensorFlow's LLVM met",
        GPU,
        'return "tensorflow" in sys.modules and not _adapter',
        "return False",
        (TESTS, "-k", "tensorflow"),
    ),
    Fault(
        "further lines of a message leak",
        STDERR,
        "(is_theirs and GOES_ON.match(line))",
        "False",
        (TESTS, "-k", "the_reason or meanwhile"),
    ),
    Fault(
        "all of standard output is LiteRT's",
        STDERR,
        'OPENCL = re.compile(rb"INFO: .* OpenCL ")',
        'OPENCL = re.compile(rb"INFO: ")',
        (TESTS, "-k", "meanwhile"),
    ),
    Fault(
        "any library taken for a delegate",
        DELEGATE,
        "    if missing := [",
        "    if missing := [][:0] and [",
        ("tests/test_backend_options.py", "-k", "no_delegate"),
    ),
)
