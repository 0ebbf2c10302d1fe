// The real signal is taken for a complex one of half its length, which Stockham's algorithm
// transforms: in each pass a butterfly over elements that lie apart, with the results in order.
#include "fourier.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "processors.h"

#define DS2_INLINE inline __attribute__((always_inline))

namespace ds2 {
namespace {

std::complex<double> root_of_unity(size_t k, size_t n) {
  return std::polar(1.0, -2.0 * M_PI * static_cast<double>(k % n) / static_cast<double>(n));
}

// Four at a time where that goes: fewest passes over the memory.
size_t next_radix(size_t length) {
  if (length % 4 == 0) return 4;
  size_t radix = 2;
  while (length % radix) ++radix;
  return radix;
}

DS2_INLINE void store(ComplexLanes& place, const Lanes& real, const Lanes& imag,
                      const std::complex<double>& by) {
  place.real = real * by.real() - imag * by.imag();
  place.imag = real * by.imag() + imag * by.real();
}

// One pass: element q + stride * (p + span * k) of `from`, for all k, to q + stride * (radix * p + j)
// of `to`, for all j.
DS2_FOR_EACH_PROCESSOR
void pass_of_two(size_t span, size_t stride, const std::complex<double>* twiddle,
                 const ComplexLanes* from, ComplexLanes* to) {
  for (size_t p = 0; p < span; ++p, ++twiddle) {
    const ComplexLanes* a = from + stride * p;
    const ComplexLanes* b = a + stride * span;
    ComplexLanes* out = to + stride * 2 * p;
    for (size_t q = 0; q < stride; ++q) {
      out[q] = {a[q].real + b[q].real, a[q].imag + b[q].imag};
      store(out[q + stride], a[q].real - b[q].real, a[q].imag - b[q].imag, *twiddle);
    }
  }
}

DS2_FOR_EACH_PROCESSOR
void pass_of_four(size_t span, size_t stride, const std::complex<double>* twiddle,
                  const ComplexLanes* from, ComplexLanes* to) {
  for (size_t p = 0; p < span; ++p, twiddle += 3) {
    const ComplexLanes* a = from + stride * p;
    const ComplexLanes* b = a + stride * span;
    const ComplexLanes* c = b + stride * span;
    const ComplexLanes* d = c + stride * span;
    ComplexLanes* out = to + stride * 4 * p;
    for (size_t q = 0; q < stride; ++q) {
      const Lanes even_real = a[q].real + c[q].real, even_imag = a[q].imag + c[q].imag;
      const Lanes gap_real = a[q].real - c[q].real, gap_imag = a[q].imag - c[q].imag;
      const Lanes odd_real = b[q].real + d[q].real, odd_imag = b[q].imag + d[q].imag;
      const Lanes turn_real = b[q].imag - d[q].imag, turn_imag = d[q].real - b[q].real;  // by -i
      out[q] = {even_real + odd_real, even_imag + odd_imag};
      store(out[q + stride], gap_real + turn_real, gap_imag + turn_imag, twiddle[0]);
      store(out[q + 2 * stride], even_real - odd_real, even_imag - odd_imag, twiddle[1]);
      store(out[q + 3 * stride], gap_real - turn_real, gap_imag - turn_imag, twiddle[2]);
    }
  }
}

DS2_FOR_EACH_PROCESSOR
void pass_of_any(size_t radix, size_t span, size_t stride, const std::complex<double>* twiddle,
                 const std::complex<double>* roots, const ComplexLanes* from, ComplexLanes* to) {
  for (size_t p = 0; p < span; ++p, twiddle += radix - 1) {
    for (size_t j = 0; j < radix; ++j) {
      for (size_t q = 0; q < stride; ++q) {
        Lanes real = {}, imag = {};
        for (size_t k = 0; k < radix; ++k) {
          const ComplexLanes& one = from[q + stride * (p + span * k)];
          const std::complex<double>& root = roots[j * k % radix];
          real += one.real * root.real() - one.imag * root.imag();
          imag += one.real * root.imag() + one.imag * root.real();
        }
        store(to[q + stride * (radix * p + j)], real, imag, j ? twiddle[j - 1] : 1.0);
      }
    }
  }
}

// Of the half-length transform: its even and odd part are those of the even and odd samples.
DS2_FOR_EACH_PROCESSOR
void untangle(const ComplexLanes* halves, size_t half, const std::complex<double>* turns,
              size_t first, size_t last, double* found) {
  for (size_t k = first; k < last; ++k, found += kLanes) {
    const ComplexLanes& a = halves[k % half];
    const ComplexLanes& b = halves[(half - k) % half];  // to be conjugated
    const Lanes even_real = a.real + b.real, even_imag = a.imag - b.imag;
    const Lanes odd_real = a.imag + b.imag, odd_imag = b.real - a.real;  // by -i
    const double cosine = turns[k].real(), sine = turns[k].imag();
    const Lanes real = even_real + odd_real * cosine - odd_imag * sine;
    const Lanes imag = even_imag + odd_real * sine + odd_imag * cosine;
    const Lanes power = (real * real + imag * imag) * 0.25;
    for (size_t lane = 0; lane < kLanes; ++lane) found[lane] = power[lane];
  }
}

}  // namespace

Fourier::Fourier(size_t size) : half_(size / 2) {
  if (size < 2 || size % 2) {
    throw std::invalid_argument("a Fourier transform needs an even number of samples, got " +
                                std::to_string(size));
  }
  size_t length = half_, stride = 1;
  while (length > 1) {
    Pass pass{next_radix(length), length, stride, {}, {}};
    for (size_t p = 0; p < length / pass.radix; ++p) {
      for (size_t j = 1; j < pass.radix; ++j) {
        pass.twiddles.push_back(root_of_unity(p * j, length));
      }
    }
    for (size_t j = 0; j < pass.radix; ++j) pass.roots.push_back(root_of_unity(j, pass.radix));
    length /= pass.radix;
    stride *= pass.radix;
    passes_.push_back(std::move(pass));
  }
  for (size_t k = 0; k <= half_; ++k) untangle_.push_back(root_of_unity(k, size));
}

void Fourier::powers(ComplexLanes* signal, ComplexLanes* spare, size_t first, size_t last,
                     double* found) const {
  for (const Pass& pass : passes_) {
    const size_t span = pass.length / pass.radix;
    if (pass.radix == 4) {
      pass_of_four(span, pass.stride, pass.twiddles.data(), signal, spare);
    } else if (pass.radix == 2) {
      pass_of_two(span, pass.stride, pass.twiddles.data(), signal, spare);
    } else {
      pass_of_any(pass.radix, span, pass.stride, pass.twiddles.data(), pass.roots.data(), signal,
                  spare);
    }
    std::swap(signal, spare);
  }
  untangle(signal, half_, untangle_.data(), first, last, found);
}

}  // namespace ds2
