#include "log_math.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace ds2;

TEST_CASE("log_add is as accurate as it says, over all gaps and magnitudes") {
  double worst = 0.0;
  for (float high = -60.0f; high <= 5.0f; high += 0.37f) {
    for (float gap = 0.0f; gap < 120.0f; gap += 0.0137f) {
      const float low = high - gap;
      const double exact = static_cast<double>(high) + std::log1p(std::exp(double(low) - high));
      const double rounding = std::abs(exact) * 6e-8;  // of a float32 that is this large
      worst = std::max(worst, std::abs(log_add(high, low) - exact) - rounding);
      REQUIRE(log_add(high, low) == log_add(low, high));
    }
  }
  CHECK(worst < 4e-7);
}

TEST_CASE("log_add of log zero") {
  CHECK(log_add(-1.0f, kLogZero) == -1.0f);
  CHECK(log_add(kLogZero, -1.0f) == -1.0f);
  CHECK(log_add(kLogZero, kLogZero) < kImpossible);
  CHECK(std::isfinite(log_add(kLogZero, kLogZero)));
}

TEST_CASE("log_add never falls below the larger one") {
  for (float gap = 0.0f; gap < 200.0f; gap += 0.01f) CHECK(log_add(-3.0f, -3.0f - gap) >= -3.0f);
}
