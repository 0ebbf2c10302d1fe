// Fourier transforms of real signals, four side by side: each has a lane of its own, so that its
// bits do not depend on the others'.
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace ds2 {

constexpr size_t kLanes = 4;

// A double of each signal. The compiler makes of it what the processor has, and must not rely on more
// alignment than containers give.
typedef double Lanes __attribute__((vector_size(kLanes * sizeof(double)), aligned(sizeof(double))));

struct ComplexLanes {
  Lanes real, imag;
};

// Powers of the Fourier bins of signals of `size` samples. Constant: threads may share it.
class Fourier {
 public:
  // Throws std::invalid_argument unless `size` is even and 2 or more.
  explicit Fourier(size_t size);

  // How many elements `powers` needs of `signal` and of `spare`.
  size_t room() const { return half_; }

  // The squared magnitudes of bins [first, last), last <= size / 2 + 1. `signal` holds sample 2 i
  // in its i-th real part, and 2 i + 1 in the imaginary one; it is overwritten. `found` has shape =
  // (last - first, kLanes).
  void powers(ComplexLanes* signal, ComplexLanes* spare, size_t first, size_t last,
              double* found) const;

 private:
  struct Pass {
    size_t radix, length, stride;                // see Fourier::Fourier
    std::vector<std::complex<double>> twiddles;  // of each position, the first (1) left out
    std::vector<std::complex<double>> roots;     // of unity, `radix` of them
  };

  size_t half_;
  std::vector<Pass> passes_;
  std::vector<std::complex<double>> untangle_;  // exp(-2 pi i k / size), for k up to `half_`
};

}  // namespace ds2
