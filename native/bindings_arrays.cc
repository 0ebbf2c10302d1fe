// What is done to many small arrays, without a moment in which other threads may take Python's lock.
// NumPy gives it away for each copy of more than 500 numbers, and where many threads want it, each
// such moment may last milliseconds.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

// The values of `rows[i]` to the beginning of `stacked[i]`.
void stack(const std::vector<Floats>& rows, py::array_t<float, py::array::c_style>& stacked) {
  if (stacked.ndim() < 1 || stacked.shape(0) < static_cast<py::ssize_t>(rows.size())) {
    throw std::invalid_argument("stacked has too few rows");
  }
  const py::ssize_t size = stacked.shape(0) ? stacked.size() / stacked.shape(0) : 0;
  float* to = stacked.mutable_data();
  for (const Floats& row : rows) {
    if (row.size() > size) throw std::invalid_argument("a row is too long");
    std::copy_n(row.data(), row.size(), to);
    to += size;
  }
}

// The first `count` rows, each an array of its own of shape (1, ...).
py::list unstack(const Floats& stacked, py::ssize_t count) {
  if (stacked.ndim() < 1 || count < 0 || count > stacked.shape(0)) {
    throw std::invalid_argument("stacked has too few rows");
  }
  std::vector<py::ssize_t> shape(stacked.shape(), stacked.shape() + stacked.ndim());
  const py::ssize_t size = shape[0] ? stacked.size() / shape[0] : 0;
  shape[0] = 1;
  py::list rows;
  for (py::ssize_t i = 0; i < count; ++i) {
    rows.append(py::array_t<float>(size, stacked.data() + i * size).reshape(shape));
  }
  return rows;
}

// All values, one after the other.
py::array_t<float> join(const std::vector<Floats>& pieces) {
  py::array_t<float> joined(std::accumulate(
      pieces.begin(), pieces.end(), py::ssize_t{0},
      [](py::ssize_t sum, const Floats& piece) { return sum + piece.size(); }));
  float* to = joined.mutable_data();
  for (const Floats& piece : pieces) to = std::copy_n(piece.data(), piece.size(), to);
  return joined;
}

// The largest magnitude; 0 of none.
float peak(const Floats& samples) {
  float most = 0;
  for (py::ssize_t i = 0; i < samples.size(); ++i) most = std::max(most, std::fabs(samples.data()[i]));
  return most;
}

template <typename Sample>
void add_channels(const py::array& samples, float factor, float* mono) {
  const auto* begin = static_cast<const char*>(samples.data());
  const py::ssize_t channels = samples.ndim() == 1 ? 1 : samples.shape(1);
  const py::ssize_t step = channels > 1 ? samples.strides(1) : 0;
  for (py::ssize_t i = 0; i < samples.shape(0); ++i) {
    const char* at = begin + i * samples.strides(0);
    float sum = 0;
    for (py::ssize_t channel = 0; channel < channels; ++channel, at += step) {
      Sample sample;
      std::memcpy(&sample, at, sizeof sample);  // it may lie anywhere
      sum += static_cast<float>(sample);
    }
    mono[i] = sum * factor;
  }
}

// The sum of the channels, times `factor`; samples of shape (n,) or (n, channels).
py::array_t<float> mono(const py::array& samples, float factor) {
  if (samples.ndim() != 1 && samples.ndim() != 2) {
    throw std::invalid_argument("samples must have shape (n,) or (n, channels)");
  }
  py::array_t<float> found(samples.shape(0));
  float* to = found.mutable_data();
  const py::dtype dtype = samples.dtype();
  if (dtype.equal(py::dtype::of<int16_t>())) {
    add_channels<int16_t>(samples, factor, to);
  } else if (dtype.equal(py::dtype::of<int32_t>())) {
    add_channels<int32_t>(samples, factor, to);
  } else if (dtype.equal(py::dtype::of<float>())) {
    add_channels<float>(samples, factor, to);
  } else if (dtype.equal(py::dtype::of<double>())) {
    add_channels<double>(samples, factor, to);
  } else {
    throw py::type_error("samples must be int16, int32, float32 or float64, in native byte order");
  }
  return found;
}

}  // namespace

void bind_arrays(py::module_& m) {
  m.def("stack", &stack, py::arg("rows"), py::arg("stacked").noconvert());
  m.def("join", &join, py::arg("pieces"));
  m.def("peak", &peak, py::arg("samples"));
  m.def("mono", &mono, py::arg("samples"), py::arg("factor"));
  m.def("unstack", &unstack, py::arg("stacked"), py::arg("count"));
}
