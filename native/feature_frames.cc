#include "feature_frames.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace ds2 {
namespace {

void need(bool is_so, const char* what) {
  if (!is_so) throw std::invalid_argument(what);
}

// Samples 2 i and 2 i + 1 of `count` frames, times the window, a frame in each lane.
void load(const FeatureOptions& options, const float* samples, size_t count,
          std::vector<ComplexLanes>& signal) {
  std::fill(signal.begin(), signal.end(), ComplexLanes{});
  for (size_t lane = 0; lane < count; ++lane) {
    const float* frame = samples + lane * options.hop;
    for (size_t i = 0; i < options.window.size(); ++i) {
      ComplexLanes& place = signal[i / 2];
      (i % 2 ? place.imag : place.real)[lane] = double(frame[i]) * options.window[i];
    }
  }
}

}  // namespace

Features::Features(FeatureOptions options) : options_(std::move(options)), fourier_(options_.fft) {
  need(options_.hop >= 1 && !options_.window.empty() && options_.window.size() <= options_.fft,
       "needed a hop, and a window no longer than the Fourier transform");
  need(options_.first < options_.last && options_.last <= options_.fft / 2 + 1,
       "the Fourier bins are not there");
  need(!options_.bands.empty() && options_.scale.size() == options_.bands.size(),
       "needed bands, and a scale for each");
  for (const Band& band : options_.bands) {
    need(band.first + band.weights.size() <= options_.last - options_.first,
         "a band lies beyond the Fourier bins");
  }
}

size_t Features::frames_in(size_t samples) const {
  const size_t window = options_.window.size();
  return samples < window ? 0 : (samples - window) / options_.hop + 1;
}

void Features::log_power(const float* samples, size_t count, float* frames) const {
  std::vector<ComplexLanes> signal(fourier_.room()), spare(fourier_.room());
  std::vector<double> powers((options_.last - options_.first) * kLanes);
  for (size_t begin = 0; begin < count; begin += kLanes) {
    const size_t some = std::min(kLanes, count - begin);
    load(options_, samples + begin * options_.hop, some, signal);
    fourier_.powers(signal.data(), spare.data(), options_.first, options_.last, powers.data());
    for (size_t b = 0; b < size(); ++b) {
      double sum[kLanes] = {};
      const double* power = powers.data() + options_.bands[b].first * kLanes;
      for (const double weight : options_.bands[b].weights) {
        for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] += *power++ * weight;
      }
      for (size_t lane = 0; lane < some; ++lane) {
        frames[(begin + lane) * size() + b] =
            std::log(static_cast<float>(sum[lane] + options_.floor));
      }
    }
  }
}

void Features::normalise(float* frames, size_t count, RunningMean& state) const {
  const double bins = static_cast<double>(size());
  // The mean of all bins, and what each has beyond it: they follow the voice at different paces.
  double level_mean = std::accumulate(state.mean.begin(), state.mean.end(), 0.0) / bins;
  std::vector<double> shape_mean(state.mean.begin(), state.mean.end());
  for (double& value : shape_mean) value -= level_mean;
  for (float* frame = frames; frame != frames + count * size(); frame += size()) {
    if (*std::max_element(frame, frame + size()) > options_.silence) {
      const double level = std::accumulate(frame, frame + size(), 0.0) / bins;
      const double seen = static_cast<double>(++state.seen);
      const double share = 1 / std::min(options_.prior_frames + seen, options_.horizon_frames);
      for (size_t b = 0; b < size(); ++b) {
        shape_mean[b] += share * (frame[b] - level - shape_mean[b]);
      }
      level_mean += (level - level_mean) /
                    std::min(options_.prior_level_frames + seen, options_.horizon_frames);
    }
    for (size_t b = 0; b < size(); ++b) {
      frame[b] = static_cast<float>((frame[b] - shape_mean[b] - level_mean) * options_.scale[b]);
    }
  }
  for (size_t b = 0; b < size(); ++b) state.mean[b] = static_cast<float>(shape_mean[b] + level_mean);
}

void mean_squares(const float* samples, size_t parts, size_t length, float* found) {
  for (size_t part = 0; part < parts; ++part, samples += length) {
    const double sum = std::inner_product(samples, samples + length, samples, 0.0);
    found[part] = static_cast<float>(sum / static_cast<double>(length));
  }
}

}  // namespace ds2
