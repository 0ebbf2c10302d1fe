// The layout is that of KenLM's lm/vocab.hh and lm/search_hashed.hh; sizes are asked of its code.
#include "kenlm_bytes.h"
#include "lm/search_hashed.hh"
#include "lm/value.hh"
#include "lm/vocab.hh"

namespace ds2::kenlm {
namespace {

using namespace lm::ngram;
using lm::WordIndex;

// A search in a hash table ends at an empty bucket, whose key is 0. `is_sound` sees every value.
template <class Entry, class IsSound>
void check_table(Bytes* bytes, const Header& header, size_t order, const IsSound& is_sound) {
  using Table = util::ProbingHashTable<Entry, util::IdentityHash>;
  const uint64_t size = Table::Size(header.counts[order - 1], header.multiplier);
  const uint8_t* bucket = bytes->take(size, grams(order));
  bool has_empty = false, sound = true;
  for (const uint8_t* end = bucket + size; bucket != end; bucket += sizeof(Entry)) {
    has_empty |= read<uint64_t>(bucket) == 0;
    sound &= is_sound(bucket + sizeof(uint64_t));
  }
  if (!has_empty) refuse("the hash table of its " + grams(order) + " is full");
  if (!sound) refuse_weights(grams(order));
}

// Returns how many words there are, the unknown one included.
uint64_t check_hashed_words(Bytes* bytes, const Header& header) {
  const uint8_t* head = bytes->take(2 * sizeof(uint32_t), "words");
  const auto bound = read<WordIndex>(head + sizeof(uint32_t));
  // The count leaves out the unknown word if the ARPA file had none.
  if (bound != header.counts[0] && bound != header.counts[0] + 1) {
    refuse("it has " + std::to_string(bound) + " words, but counts " +
           std::to_string(header.counts[0]));
  }
  check_table<ProbingVocabularyEntry>(bytes, header, 1, [bound](const uint8_t* value) {
    return read<WordIndex>(value) < bound;
  });
  return bound;
}

template <class Value>
uint64_t check_tables(Bytes* bytes, const Header& header) {
  constexpr size_t kWeights = sizeof(typename Value::Weights) / sizeof(float);
  const uint64_t words = check_hashed_words(bytes, header);
  const uint64_t unigrams = (header.counts[0] + 1) * kWeights;  // with room for the unknown word
  const uint8_t* weights = bytes->take(unigrams * sizeof(float), grams(1));
  if (!are_numbers(weights, words * kWeights)) refuse_weights(grams(1));
  for (size_t order = 2; order < header.order(); ++order) {
    check_table<typename Value::ProbingEntry>(
        bytes, header, order, [](const uint8_t* value) { return are_numbers(value, kWeights); });
  }
  check_table<lm::ngram::detail::ProbEntry>(
      bytes, header, header.order(), [](const uint8_t* value) { return are_numbers(value, 1); });
  return words;
}

}  // namespace

uint64_t check_hashed(Bytes* bytes, const Header& header) {
  return header.layout == PROBING ? check_tables<BackoffValue>(bytes, header)
                                  : check_tables<RestValue>(bytes, header);
}

}  // namespace ds2::kenlm
