// What the checks of KenLM's layouts share: the bytes of a file, and its header.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lm/model_type.hh"

namespace ds2::kenlm {

[[noreturn]] inline void refuse(const std::string& what) {
  throw std::runtime_error("damaged: " + what);
}

inline std::string grams(size_t order) { return std::to_string(order) + "-grams"; }

template <class T>
T read(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The bytes of the file that no part of the model has taken yet.
class Bytes {
 public:
  Bytes(const void* begin, uint64_t size) : at_(static_cast<const uint8_t*>(begin)), left_(size) {}

  const uint8_t* take(uint64_t size, const std::string& what) {
    if (size > left_) {
      refuse("its header asks for " + std::to_string(size) + " bytes of " + what + ", left are " +
             std::to_string(left_));
    }
    const uint8_t* taken = at_;
    at_ += size;
    left_ -= size;
    return taken;
  }
  const uint8_t* peek(uint64_t size, const std::string& what) const {
    return Bytes(*this).take(size, what);
  }
  std::string_view rest() const { return {reinterpret_cast<const char*>(at_), left_}; }

 private:
  const uint8_t* at_;
  uint64_t left_;
};

struct Header {
  lm::ngram::ModelType layout;
  bool has_words;  // the words themselves, at the end of the file
  float multiplier;
  std::vector<uint64_t> counts;

  size_t order() const { return counts.size(); }
};

// Neither NaN nor infinite.
inline bool are_numbers(const uint8_t* floats, size_t count) {
  bool sound = true;
  for (size_t i = 0; i < count; ++i) {
    sound &= std::isfinite(read<float>(floats + i * sizeof(float)));
  }
  return sound;
}

[[noreturn]] inline void refuse_weights(const std::string& what) {
  refuse("its " + what + " have a weight that is impossible");
}

// Take the model's tables from `bytes` and check them. They return how many words the model has,
// the unknown one included.
uint64_t check_hashed(Bytes* bytes, const Header& header);  // PROBING, REST_PROBING
uint64_t check_trie(Bytes* bytes, const Header& header);    // TRIE, QUANT_, ARRAY_ and both

}  // namespace ds2::kenlm
