// The Python face of feature_frames.h.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "feature_frames.h"

namespace py = pybind11;
using namespace ds2;

namespace {

// Copied only if it is of another type or layout.
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::vector<float> to_vector(const Floats& values) {
  return {values.data(), values.data() + values.size()};
}

// Of a matrix, shape = (bins, bands), whose columns are zero but for a stretch.
std::vector<Band> to_bands(const Floats& bank) {
  if (bank.ndim() != 2) throw std::invalid_argument("bank must have shape (bins, bands)");
  std::vector<Band> bands;
  const auto values = bank.unchecked<2>();
  for (py::ssize_t b = 0; b < values.shape(1); ++b) {
    py::ssize_t first = 0, last = values.shape(0);
    while (first < last && values(first, b) == 0) ++first;
    while (last > first && values(last - 1, b) == 0) --last;
    Band band{static_cast<size_t>(first), {}};
    for (py::ssize_t i = first; i < last; ++i) band.weights.push_back(values(i, b));
    bands.push_back(std::move(band));
  }
  return bands;
}

// A chunk of one recording, on its way.
struct Chunk {
  Floats samples;
  RunningMean state;
  py::array_t<float> frames, powers;
  float *frames_data, *powers_data;
};

py::array_t<float> log_power(const Features& self, const Floats& samples, size_t most) {
  const size_t count = std::min(most, self.frames_in(samples.size()));
  py::array_t<float> frames({count, self.size()});
  float* found = frames.mutable_data();
  const py::gil_scoped_release nogil;
  self.log_power(samples.data(), count, found);
  return frames;
}

// For each piece its frames, the mean and number of frames after it, and the mean squares of its
// first `parts` stretches of `part` samples, or as many as it has.
py::list frames(const Features& self, const std::vector<Floats>& pieces,
                const std::vector<Floats>& means, const std::vector<int64_t>& seen, size_t parts,
                size_t part) {
  if (means.size() != pieces.size() || seen.size() != pieces.size() || !part) {
    throw std::invalid_argument("needed a mean and a number of frames for each piece, and a part");
  }
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (static_cast<size_t>(means[i].size()) != self.size()) {
      throw std::invalid_argument("a mean needs " + std::to_string(self.size()) + " values");
    }
    const size_t samples = pieces[i].size();
    py::array_t<float> made({self.frames_in(samples), self.size()});
    py::array_t<float> powers(static_cast<py::ssize_t>(std::min(parts, samples / part)));
    float *frames_data = made.mutable_data(), *powers_data = powers.mutable_data();
    chunks.push_back({pieces[i], {to_vector(means[i]), seen[i]}, std::move(made),
                      std::move(powers), frames_data, powers_data});
  }
  {
    const py::gil_scoped_release nogil;
    for (Chunk& chunk : chunks) {
      const float* samples = chunk.samples.data();
      const size_t count = chunk.frames.shape(0);
      self.log_power(samples, count, chunk.frames_data);
      self.normalise(chunk.frames_data, count, chunk.state);
      mean_squares(samples, chunk.powers.shape(0), part, chunk.powers_data);
    }
  }
  py::list list;
  for (const Chunk& chunk : chunks) {
    const std::vector<float>& mean = chunk.state.mean;
    list.append(py::make_tuple(chunk.frames, py::array_t<float>(mean.size(), mean.data()),
                               chunk.state.seen, chunk.powers));
  }
  return list;
}

}  // namespace

void bind_features(py::module_& m) {
  py::class_<Features>(m, "Features")
      .def(py::init([](const Floats& window, size_t hop, size_t fft, size_t first,
                       const Floats& bank, double floor, float silence, const Floats& scale,
                       double prior_frames, double prior_level_frames, double horizon_frames) {
             const size_t last = first + bank.shape(0);
             return Features({to_vector(window), hop, fft, first, last, to_bands(bank), floor,
                              silence, to_vector(scale), prior_frames, prior_level_frames,
                              horizon_frames});
           }),
           py::kw_only(), py::arg("window"), py::arg("hop"), py::arg("fft"), py::arg("first"),
           py::arg("bank"), py::arg("floor"), py::arg("silence"), py::arg("scale"),
           py::arg("prior_frames"), py::arg("prior_level_frames"), py::arg("horizon_frames"))
      .def("log_power", &log_power, py::arg("samples"), py::arg("most"))
      .def("frames", &frames, py::arg("pieces"), py::arg("means"), py::arg("seen"),
           py::arg("parts"), py::arg("part"));
}
