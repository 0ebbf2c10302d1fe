// Samples to feature frames: windows, Fourier transform, mel bands, logarithm, running mean.
// What a frame is stands in ds2edge/features.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fourier.h"

namespace ds2 {

// A filter over neighbouring Fourier bins.
struct Band {
  size_t first;  // bin, counted from the first that is looked at
  std::vector<double> weights;
};

struct FeatureOptions {
  std::vector<float> window;      // factor of each sample of a frame
  size_t hop = 0;                 // samples between frames
  size_t fft = 0;                 // points of the Fourier transform, no less than the window
  size_t first = 0, last = 0;     // bins that are looked at, the last excluded
  std::vector<Band> bands;        // what a frame consists of
  double floor = 0;               // added to every power
  float silence = 0;              // a frame with nothing above it does not move the mean
  std::vector<float> scale;       // of each value, after the mean is subtracted
  double prior_frames = 0;        // that the mean counts for at the start,
  double prior_level_frames = 0;  // and that of all bins
  double horizon_frames = 0;      // that the mean remembers
};

// What a recording leaves behind.
struct RunningMean {
  std::vector<float> mean;  // of each value
  int64_t seen = 0;         // frames
};

// Constant: threads may share it.
class Features {
 public:
  // Throws std::invalid_argument if the options do not fit each other.
  explicit Features(FeatureOptions options);

  size_t size() const { return options_.bands.size(); }

  // Whole frames in so many samples.
  size_t frames_in(size_t samples) const;

  // The first `count` frames before normalisation; shape = (count, size).
  void log_power(const float* samples, size_t count, float* frames) const;

  // Subtract from each frame the running mean up to it, and scale; shape = (count, size).
  void normalise(float* frames, size_t count, RunningMean& state) const;

 private:
  FeatureOptions options_;
  Fourier fourier_;
};

// The mean square of each of `parts` stretches of `length` samples.
void mean_squares(const float* samples, size_t parts, size_t length, float* found);

}  // namespace ds2
