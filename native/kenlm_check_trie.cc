// The layout is that of KenLM's lm/vocab.hh, lm/search_trie.hh, lm/trie.hh, lm/bhiksha.hh and
// lm/quantize.hh; sizes are asked of its code.
#include <algorithm>
#include <cstddef>
#include <limits>

#include "kenlm_bytes.h"
#include "lm/bhiksha.hh"
#include "lm/quantize.hh"
#include "lm/trie.hh"
#include "util/bit_packing.hh"

namespace ds2::kenlm {
namespace {

using namespace lm::ngram;

// One field of the records of a trie: so many bits, in every record at the same place.
class Field {
 public:
  Field() = default;
  Field(const uint8_t* records, unsigned stride, unsigned offset, unsigned bits)
      : records_(records), stride_(stride), offset_(offset), bits_(bits),
        mask_((uint64_t{1} << bits) - 1) {}

  uint64_t operator[](uint64_t i) const {
    const uint64_t bit = i * stride_ + offset_;
    return (read<uint64_t>(records_ + (bit >> 3)) >> util::BitPackShift(bit & 7, bits_)) & mask_;
  }
  unsigned bits() const { return bits_; }

 private:
  const uint8_t* records_ = nullptr;
  unsigned stride_ = 0, offset_ = 0, bits_ = 0;
  uint64_t mask_ = 0;
};

// The n-grams of one order: records {word, value, where its children begin}.
struct Level {
  uint64_t count = 0;
  Field word, prob, backoff, next;  // the weights only where they are not quantised
  // Upper bits of where the children begin: as many as there are offsets up to the n-gram, less 1.
  const uint8_t* offsets = nullptr;
  uint64_t offset_count = 0;
};

// Where the children of one n-gram after another begin.
class Children {
 public:
  explicit Children(const Level& level)
      : next_(level.next), offsets_(level.offsets), offset_count_(level.offset_count) {}

  uint64_t next() {
    while (upper_ + 1 < offset_count_ && offset(upper_ + 1) <= i_) ++upper_;
    return upper_ << next_.bits() | next_[i_++];
  }

 private:
  uint64_t offset(uint64_t i) const { return read<uint64_t>(offsets_ + i * sizeof(uint64_t)); }

  const Field next_;
  const uint8_t* const offsets_;
  const uint64_t offset_count_;
  uint64_t i_ = 0, upper_ = 0;
};

class UnigramChildren {
 public:
  explicit UnigramChildren(const uint8_t* unigrams)
      : at_(unigrams + offsetof(trie::UnigramValue, next)) {}

  uint64_t next() {
    const auto next = read<uint64_t>(at_);
    at_ += sizeof(trie::UnigramValue);
    return next;
  }

 private:
  const uint8_t* at_;
};

// The children of `parents` n-grams must share out the n-grams of `level`, each one's in the order
// of their words. Most have no child or one, so this has no branch that depends on how many.
template <class Parents>
void check_level(Parents next, uint64_t parents, const Level& level, uint64_t words, size_t order) {
  std::vector<uint64_t> first(level.count / 64 + 1);  // a bit for each n-gram: it is a first child
  uint64_t begin = next.next();
  bool sound = begin == 0;
  for (uint64_t i = 0; i < parents; ++i) {
    if (begin > level.count) break;
    first[begin / 64] |= uint64_t{1} << (begin % 64);
    const uint64_t end = next.next();
    sound &= begin <= end;
    begin = end;
  }
  sound &= begin == level.count;
  const Field field = level.word;  // a copy, which the compiler knows to be constant
  uint64_t before = 0, highest = 0;
  for (uint64_t i = 0; i < level.count; ++i) {
    const uint64_t word = field[i];
    highest = std::max(highest, word);
    sound &= (word >= before) | (first[i / 64] >> (i % 64) & 1);
    before = word;
  }
  sound &= highest < words;
  if (!sound) refuse("its " + grams(order) + " are out of order");
}

// KenLM searches these by interpolation between neighbours.
void check_sorted_words(Bytes* bytes, const Header& header) {
  const uint64_t count = header.counts[0];
  const uint8_t* hashes = bytes->take((count + 1) * sizeof(uint64_t), "words");
  const auto known = read<uint64_t>(hashes);  // all but the unknown word
  if (known != count - 1) {
    refuse("it has " + std::to_string(known) + " words, but counts " + std::to_string(count - 1));
  }
  bool sorted = true;
  for (uint64_t i = 2; i < count; ++i) {
    sorted &= read<uint64_t>(hashes + (i - 1) * sizeof(uint64_t)) <=
              read<uint64_t>(hashes + i * sizeof(uint64_t));
  }
  if (!sorted) refuse("its words are out of order");
}

const uint8_t* check_trie_unigrams(Bytes* bytes, const Header& header) {
  const uint8_t* unigrams = bytes->take(trie::Unigram::Size(header.counts[0]), grams(1));
  bool sound = true;
  for (uint64_t i = 0; i < header.counts[0]; ++i) {
    const uint8_t* weights = unigrams + i * sizeof(trie::UnigramValue);
    sound &= are_numbers(weights, 2) && read<float>(weights) <= 0.0f;
  }
  if (!sound) refuse_weights(grams(1));
  return unigrams;
}

// Tables of the values that weights are rounded to; bins without any are minus infinity.
void check_bins(Bytes* bytes, uint8_t bits, float limit, const std::string& what) {
  const uint64_t count = uint64_t{1} << bits;
  const uint8_t* bins = bytes->take(count * sizeof(float), what);
  bool sound = true;
  for (uint64_t i = 0; i < count; ++i) sound &= read<float>(bins + i * sizeof(float)) <= limit;
  if (!sound) refuse_weights(what);
}

void check_quantiser(Bytes* bytes, const Header& header, Config* config) {
  const uint8_t* head = bytes->take(8, "quantiser");
  config->prob_bits = head[1];
  config->backoff_bits = head[2];
  for (const int bits : {head[1], head[2]}) {
    if (bits < 1 || bits > 25) refuse("its weights have " + std::to_string(bits) + " bits");
  }
  for (size_t order = 2; order <= header.order(); ++order) {
    check_bins(bytes, config->prob_bits, 0.0f, grams(order));
    if (order == header.order()) break;
    check_bins(bytes, config->backoff_bits, std::numeric_limits<float>::max(), grams(order));
  }
}

// Weights that are stored as they are; the sign of a probability is left out.
void check_weights(const Level& level, size_t order) {
  const uint32_t exponent = 0x7f800000;  // all its bits set: infinite or NaN
  bool sound = true;
  for (uint64_t i = 0; i < level.count; ++i) {
    sound &= (level.prob[i] & exponent) != exponent;
    sound &= level.backoff.bits() == 0 || (level.backoff[i] & exponent) != exponent;
  }
  if (!sound) refuse_weights(grams(order));
}

void check_offsets(const Level& level, size_t order) {
  uint64_t least = 0;
  for (uint64_t i = 0; i < level.offset_count; ++i) {
    const auto offset = read<uint64_t>(level.offsets + i * sizeof(uint64_t));
    if (offset < least || (i == 0 && offset != 0)) {
      refuse("the offsets of its " + grams(order) + " are out of order");
    }
    least = offset;
  }
}

Level make_level(const uint8_t* records, uint64_t count, uint64_t words, unsigned value_bits,
                 unsigned next_bits) {
  const unsigned word_bits = util::RequiredBits(words);
  const unsigned stride = word_bits + value_bits + next_bits;
  const unsigned backoff_bits = value_bits > 31 ? 32 : 0;
  return {count,
          Field(records, stride, 0, word_bits),
          Field(records, stride, word_bits, 31),
          Field(records, stride, word_bits + 31, backoff_bits),
          Field(records, stride, word_bits + value_bits, next_bits)};
}

template <class Quant, class Bhiksha>
Level take_middle(Bytes* bytes, const Header& header, size_t order, const Config& config) {
  const uint64_t count = header.counts[order - 1], children = header.counts[order];
  const uint8_t value_bits = Quant::MiddleBits(config);
  const uint64_t size = trie::BitPackedMiddle<Bhiksha>::Size(value_bits, count, header.counts[0],
                                                             children, config);
  const uint64_t offsets = Bhiksha::Size(count + 1, children, config);
  const uint8_t* begin = bytes->take(size, grams(order));
  Level level = make_level(begin + offsets, count, header.counts[0], value_bits,
                           Bhiksha::InlineBits(count + 1, children, config));
  if (offsets > 0) {  // 8 bytes, the offsets, and 7 bytes to place them at a multiple of 8
    level.offsets = begin + (8 - reinterpret_cast<uintptr_t>(begin) % 8) % 8 + sizeof(uint64_t);
    level.offset_count = offsets / sizeof(uint64_t) - 1;
    check_offsets(level, order);
  }
  return level;
}

template <class Quant>
Level take_longest(Bytes* bytes, const Header& header, const Config& config) {
  const uint64_t count = header.counts.back(), words = header.counts[0];
  const uint8_t bits = Quant::LongestBits(config);
  const uint64_t size = trie::BitPackedLongest::Size(bits, count, words);
  return make_level(bytes->take(size, grams(header.order())), count, words, bits, 0);
}

template <class Quant, class Bhiksha>
uint64_t check_levels(Bytes* bytes, const Header& header) {
  const uint64_t words = header.counts[0];
  Config config;
  check_sorted_words(bytes, header);
  if constexpr (Quant::kTrain) check_quantiser(bytes, header, &config);
  const uint8_t* unigrams = check_trie_unigrams(bytes, header);
  config.pointer_bhiksha_bits = bytes->peek(2, grams(2))[1];  // only arrays have it, for all orders
  Level above;
  for (size_t order = 2; order <= header.order(); ++order) {
    const Level level = order < header.order()
                            ? take_middle<Quant, Bhiksha>(bytes, header, order, config)
                            : take_longest<Quant>(bytes, header, config);
    if (order == 2) {
      check_level(UnigramChildren(unigrams), words, level, words, order);
    } else {
      check_level(Children(above), above.count, level, words, order);
    }
    if (!Quant::kTrain) check_weights(level, order);
    above = level;
  }
  return words;
}

}  // namespace

uint64_t check_trie(Bytes* bytes, const Header& header) {
  switch (header.layout) {
    case TRIE: return check_levels<DontQuantize, trie::DontBhiksha>(bytes, header);
    case QUANT_TRIE: return check_levels<SeparatelyQuantize, trie::DontBhiksha>(bytes, header);
    case ARRAY_TRIE: return check_levels<DontQuantize, trie::ArrayBhiksha>(bytes, header);
    default: return check_levels<SeparatelyQuantize, trie::ArrayBhiksha>(bytes, header);
  }
}

}  // namespace ds2::kenlm
