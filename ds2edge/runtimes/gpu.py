"""The GPU: LiteRT's CompiledModel with its WebGPU accelerator, which runs on Vulkan.

Only what LiteRT prints names the adapter, or the reason why there is none; and of all loads in a
process, only the first one prints it.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from ds2edge.errors import BackendError
from ds2edge.runtimes.compiled_model import (
    CompiledModelRuntime,
    compile_model,
    environment,
)
from ds2edge.runtimes.litert import litert_module, litert_name
from ds2edge.runtimes.stderr import captured_output, captured_stderr, stderr_lock

# What is printed where no adapter can be used, and what it means.
NO_ADAPTER = {
    "Couldn't load Vulkan": (
        "there is no Vulkan loader (libvulkan.so.1); install it (Debian: libvulkan1) and the GPU's "
        "Vulkan driver"
    ),
    "Found no drivers": (
        "there is no Vulkan driver; install that of the GPU (Mesa's are in mesa-vulkan-drivers)"
    ),
    r"Warning: (Vulkan .+ required)": (
        r"the GPU's Vulkan driver is too old: \1; install a newer one (of Mesa's, 25)"
    ),
    "No adapters found": "Vulkan has no adapter that LiteRT can use",
}
ADAPTER = re.compile(r"Selected adapter: (.+), arch=.*, backend=(.+), adapterType=(.+)")
NOT_SUPPORTED = "not supported by GPU delegate"

_adapter = ""  # that LiteRT chose for this process
_no_adapter = ""  # or why it found none


def load_gpu(model: Path, exact: bool) -> CompiledModelRuntime:
    """The file on the GPU, all of it; within `explained`.

    Args:
        exact: compute in float32; for float32 weights only: with float16 ones `flush` would
            silently give zeros. Else LiteRT computes in float16 where the GPU can.

    Raises:
        BackendError: LiteRT is not installed, has no accelerator, or cannot load the file.
    """
    litert = litert_module("compiled_model")
    folder = Path(litert.__file__).parent
    if not any(folder.glob("*GpuAccelerator.*")):
        raise BackendError(f"{litert_name()} comes without a GPU accelerator for this machine")
    options = litert.Options(
        hardware_accelerators=litert.HardwareAccelerator.GPU,
        gpu_options=litert.GpuOptions(enforce_f32=exact),
    )
    compiled = compile_model(model, options, environment(str(folder)))
    if not compiled.is_fully_accelerated():  # what is shared with the CPU is silently wrong
        raise BackendError("it cannot run all of the model")
    arithmetic = "float32" if exact else "float16"
    return CompiledModelRuntime(compiled, f"{litert_name()} CompiledModel, GPU in {arithmetic}")


@contextmanager
def explained() -> Iterator[None]:
    """For loading and the first runs: a BackendError that is raised tells the reason."""
    global _adapter, _no_adapter
    with stderr_lock:
        if _no_adapter:
            raise BackendError(_no_adapter)
        if _tensorflow_is_in_the_way():
            raise BackendError(
                "TensorFlow is in this process, and its LLVM gets in the way of Vulkan drivers; "
                "load the model before TensorFlow, or in a process without it"
            )
        lines: list[str] = []
        try:
            with captured_output() as lines:
                yield
        except BackendError as error:
            _no_adapter = _why_no_adapter(lines)
            raise BackendError(_no_adapter or _unsupported(lines) or _one_line(error)) from None
        finally:
            if found := ADAPTER.search("\n".join(lines)):
                _adapter = ", ".join(found.groups())


def _tensorflow_is_in_the_way() -> bool:
    """A Vulkan driver with LLVM, loaded after TensorFlow, gets that one's LLVM and crashes."""
    return "tensorflow" in sys.modules and not _adapter


def adapter() -> str:
    """Name, interface and kind of the adapter that `load_gpu` uses."""
    return _adapter or "unknown"  # where there was no standard error to capture


def _why_no_adapter(lines: Sequence[str]) -> str:
    for line in NO_ADAPTER:
        for text in lines:
            if found := re.search(line, text):
                return found.expand(NO_ADAPTER[line])
    return ""


def _unsupported(lines: Sequence[str]) -> str:
    """Of a model that it does not run as a whole, what it cannot run."""
    for line, following in pairwise(lines):
        if NOT_SUPPORTED in line:
            return f"it cannot run all of the model: {following.rstrip('. ')}"
    return ""


def _one_line(error: BackendError) -> str:
    return " ".join(str(error).replace("└", "").split())


# ---- Vulkan's own list of adapters, for those who only want to know whether there is a GPU

VULKAN_1_1 = 1 << 22 | 1 << 12
GPU_KINDS = (1, 2, 3)  # integrated, discrete and virtual; 4 is software on the CPU


class _ApplicationInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p),
        ("engine_version", ctypes.c_uint32),
        ("api", ctypes.c_uint32),
    )


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.POINTER(_ApplicationInfo)),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    )


class _DeviceProperties(ctypes.Structure):
    _fields_ = (
        ("api", ctypes.c_uint32),
        ("driver", ctypes.c_uint32),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("kind", ctypes.c_int),
        ("name", ctypes.c_char * 256),
        ("rest", ctypes.c_char * 4096),  # its true length is below 1024
    )


def hardware_adapters() -> list[str]:
    """Names of the GPUs that Vulkan lists; none where there is no Vulkan, or TensorFlow is."""
    if _tensorflow_is_in_the_way():
        return []
    with captured_stderr():  # drivers speak, too
        try:
            vulkan = ctypes.CDLL("libvulkan.so.1")
        except OSError:
            return []
        application = _ApplicationInfo(type=0, name=b"ds2edge", version=1, api=VULKAN_1_1)
        create = _InstanceCreateInfo(type=1, application=ctypes.pointer(application))
        instance = ctypes.c_void_p()
        if vulkan.vkCreateInstance(ctypes.byref(create), None, ctypes.byref(instance)):
            return []
        try:
            return [
                properties.name.decode(errors="replace")
                for properties in _properties(vulkan, instance)
                if properties.kind in GPU_KINDS
            ]
        finally:
            vulkan.vkDestroyInstance(instance, None)


def _properties(vulkan: ctypes.CDLL, instance: ctypes.c_void_p) -> Iterator[_DeviceProperties]:
    count = ctypes.c_uint32()
    if vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None):
        return
    devices = (ctypes.c_void_p * count.value)()
    if vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices) < 0:
        return
    for device in devices[: count.value]:
        properties = _DeviceProperties()
        vulkan.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), ctypes.byref(properties))
        yield properties
