// Probabilities as natural logarithms, in float32.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace ds2 {

// Stands for log(0): finite, so that sums and differences of it stay ordinary numbers.
constexpr float kLogZero = -1e30f;
// What is below this has a log(0) in it.
constexpr float kImpossible = 0.5f * kLogZero;

// log(exp(a) + exp(b)), to about 2e-7. Free of branches and calls, so that loops over it are
// vectorised by the compiler with the baseline instructions of any machine.
inline float log_add(float a, float b) {
  const float high = a > b ? a : b;
  const float below = -std::fabs(a - b);  // a conditional here would not be vectorised
  const float gap = below > -80.0f ? below : -80.0f;
  // exp(gap) = 2^whole * 2^part, part in [-0.5, 0.5]: a degree 5 polynomial, then exponent bits.
  const float power = gap * 1.44269504f;
  const int32_t whole = static_cast<int32_t>(power - 0.5f);
  const float part = power - static_cast<float>(whole);
  const float fraction =
      1.0000001f +
      part * (0.69314718f +
              part * (0.24022107f +
                      part * (0.055503272f + part * (0.0096760374f + part * 0.0013400433f))));
  const int32_t bits = (whole + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  const float ratio = fraction * scale;
  // log(1 + ratio) = 2 atanh(s) with s = ratio / (2 + ratio), in powers of s^2.
  const float s = ratio / (2.0f + ratio);
  const float q = s * s;
  return high + s * (1.9999996f + q * (0.66675979f + q * (0.39590061f + q * 0.34222454f)));
}

}  // namespace ds2
