#include "fourier.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

using namespace ds2;

namespace {

using Signal = std::vector<double>;

Signal noise(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Signal signal(size);
  for (double& value : signal) value = normal(random);
  return signal;
}

// The definition.
double power(const Signal& signal, size_t bin) {
  double real = 0, imag = 0;
  for (size_t i = 0; i < signal.size(); ++i) {
    const double angle = 2 * M_PI * static_cast<double>(bin * i % signal.size()) / signal.size();
    real += signal[i] * std::cos(angle);
    imag -= signal[i] * std::sin(angle);
  }
  return real * real + imag * imag;
}

// Of bins [first, last), shape = (last - first, kLanes).
std::vector<double> powers(const std::vector<Signal>& signals, size_t first, size_t last) {
  const size_t size = signals.front().size();
  const Fourier fourier(size);
  std::vector<ComplexLanes> room(fourier.room()), spare(fourier.room());
  for (size_t i = 0; i < size; ++i) {
    for (size_t lane = 0; lane < signals.size(); ++lane) {
      (i % 2 ? room[i / 2].imag : room[i / 2].real)[lane] = signals[lane][i];
    }
  }
  std::vector<double> found((last - first) * kLanes);
  fourier.powers(room.data(), spare.data(), first, last, found.data());
  return found;
}

}  // namespace

TEST_CASE("powers are those of the definition, for all kinds of sizes") {
  for (const size_t size : {2, 4, 6, 8, 10, 14, 16, 30, 32, 64, 160, 320, 462, 480, 512, 1022}) {
    CAPTURE(size);
    const std::vector<Signal> signals = {noise(size, 1), noise(size, 2), noise(size, 3),
                                         Signal(size, 1.0)};
    const std::vector<double> found = powers(signals, 0, size / 2 + 1);
    for (size_t bin = 0; bin <= size / 2; ++bin) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const double expected = power(signals[lane], bin);
        CHECK(std::abs(found[bin * kLanes + lane] - expected) < 1e-9 * (1 + expected));
      }
    }
  }
}

TEST_CASE("some bins are the same as of all") {
  const std::vector<Signal> signals = {noise(512, 1)};
  const std::vector<double> all = powers(signals, 0, 257), some = powers(signals, 3, 40);
  CHECK(std::memcmp(some.data(), all.data() + 3 * kLanes, some.size() * sizeof(double)) == 0);
}

TEST_CASE("a signal knows nothing of the others") {
  const Signal one = noise(512, 1), loud(512, 1e6);
  const std::vector<double> alone = powers({one}, 0, 257);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    std::vector<Signal> signals(kLanes, loud);
    signals[lane] = one;
    const std::vector<double> together = powers(signals, 0, 257);
    for (size_t bin = 0; bin < 257; ++bin) {
      CHECK(together[bin * kLanes + lane] == alone[bin * kLanes]);
    }
  }
}

TEST_CASE("other sizes are refused") {
  CHECK_THROWS_AS(Fourier(0), std::invalid_argument);
  CHECK_THROWS_AS(Fourier(511), std::invalid_argument);
}
