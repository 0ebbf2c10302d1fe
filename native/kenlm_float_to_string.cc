// In place of KenLM's util/float_to_string.cc, which writes beyond its 19 bytes when a message
// names a large number: the probability 1e20 in an ARPA file is enough. What fits is written alike.
#include "util/float_to_string.hh"

#include <cstdio>

#include "util/double-conversion/double-conversion.h"

namespace util {

char* ToString(float value, char* to) {
  using Converter = double_conversion::DoubleToStringConverter;
  // At most 15 digits before the point, not 21: 9 that count and what places them.
  static const Converter converter(Converter::NO_FLAGS, "inf", "NaN", 'e', -6, 15, 6, 0);
  double_conversion::StringBuilder builder(to, ToStringBuf<float>::kBytes);
  converter.ToShortestSingle(value, &builder);
  return to + builder.position();
}

char* ToString(double value, char* to) {
  return to + std::snprintf(to, ToStringBuf<double>::kBytes, "%.10g", value);
}

}  // namespace util
