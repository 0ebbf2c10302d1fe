// The layout is that of KenLM's lm/binary_format.cc.
#include "kenlm_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "kenlm_bytes.h"
#include "lm/binary_format.hh"
#include "lm/max_order.hh"
#include "util/file.hh"
#include "util/mmap.hh"

namespace ds2 {
namespace kenlm {
namespace {

using namespace lm::ngram;
using lm::WordIndex;

// What IsBinaryFormat compares; KenLM keeps its own copy to itself.
struct Sanity {
  static constexpr char kMagic[] = "mmap lm http://kheafield.com/code format version 5\n\0";
  char magic[(sizeof kMagic + 7) / 8 * 8] = {};
  float zero = 0.0f, one = 1.0f, minus_half = -0.5f;
  WordIndex one_word = 1, last_word = std::numeric_limits<WordIndex>::max(), padding = 0;
  uint64_t one_wide = 1;

  Sanity() { std::memcpy(magic, kMagic, sizeof kMagic); }
};

Header read_header(Bytes* bytes, uint64_t file_size) {
  using Fixed = FixedWidthParameters;
  const uint8_t* fixed = bytes->take(sizeof(Fixed), "parameters");
  const unsigned order = fixed[offsetof(Fixed, order)];
  const auto layout = read<uint32_t>(fixed + offsetof(Fixed, model_type));
  const unsigned has_words = fixed[offsetof(Fixed, has_vocabulary)];
  Header header;
  header.multiplier = read<float>(fixed + offsetof(Fixed, probing_multiplier));
  if (order < 2 || order > KENLM_MAX_ORDER) refuse("its order is " + std::to_string(order));
  if (layout > QUANT_ARRAY_TRIE) refuse("its layout is " + std::to_string(layout));
  if (has_words > 1) refuse("its header has a flag that is neither on nor off");
  if (!(header.multiplier >= 1.0f && header.multiplier <= 1e3f)) {
    refuse("its hash tables' multiplier is " + std::to_string(header.multiplier));
  }
  header.layout = static_cast<ModelType>(layout);
  header.has_words = has_words == 1;
  const uint8_t* counts = bytes->take(order * sizeof(uint64_t), "counts");
  for (unsigned n = 0; n < order; ++n) {
    const auto count = read<uint64_t>(counts + n * sizeof(uint64_t));
    // A word takes 8 bytes, an n-gram at least a bit: so no size below can overflow.
    if (count > file_size * (n == 0 ? 1 : 8) || (n == 0 && count < 1)) {
      refuse("its header counts " + std::to_string(count) + " " + grams(n + 1));
    }
    header.counts.push_back(count);
  }
  if (header.counts[0] >= std::numeric_limits<WordIndex>::max()) refuse("it has too many words");
  // The header is filled up to a multiple of 8.
  const size_t size = sizeof(Sanity) + sizeof(Fixed) + order * sizeof(uint64_t);
  bytes->take((8 - size % 8) % 8, "header");
  return header;
}

// The words are not used, but are the end of the file: what is cut off is noticed here.
void check_word_list(std::string_view list, uint64_t words) {
  uint64_t found = 0;
  for (size_t at = 0; (at = list.find('\0', at)) != list.npos; ++at) ++found;
  if (found != words || list.back() != '\0') {
    refuse("it ends with " + std::to_string(found) + " of " + std::to_string(words) + " words");
  }
}

void check_binary(Bytes bytes, uint64_t file_size) {
  const Header header = read_header(&bytes, file_size);
  const bool hashed = header.layout == PROBING || header.layout == REST_PROBING;
  const uint64_t words = hashed ? check_hashed(&bytes, header) : check_trie(&bytes, header);
  if (header.has_words) check_word_list(bytes.rest(), words);
}

// KenLM takes memory for as many n-grams as are announced, before it reads the first.
void check_arpa_counts(std::string_view text) {
  for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    if (line.substr(0, 8) == "\\1-grams") return;
    const size_t equals = line.find('=');
    if (line.substr(0, 6) != "ngram " || equals == line.npos) continue;
    const std::string count(line.substr(equals + 1));
    if (std::strtoull(count.c_str(), nullptr, 10) > text.size() / 4) {
      refuse("it announces '" + std::string(line.substr(0, 40)) + "', more than it has room for");
    }
  }
}

}  // namespace
}  // namespace kenlm

void check_kenlm_file(const std::string& path) {
  using namespace kenlm;
  const util::scoped_fd file(util::OpenReadOrThrow(path.c_str()));
  const uint64_t size = util::SizeOrThrow(file.get());
  if (size == 0) refuse("it is empty");
  util::scoped_memory memory;
  util::MapRead(util::POPULATE_OR_LAZY, file.get(), 0, size, memory);
  const std::string_view all(static_cast<const char*>(memory.get()), size);
  const Sanity sanity;
  const std::string_view magic(Sanity::kMagic, 33);  // of all versions
  if (all.substr(0, magic.size()) != magic) return check_arpa_counts(all);
  if (size < sizeof sanity || std::memcmp(all.data(), &sanity, sizeof sanity) != 0) {
    refuse("it begins like a KenLM binary, but not like one of this version and kind of machine");
  }
  Bytes bytes(memory.get(), size);
  bytes.take(sizeof sanity, "header");
  check_binary(bytes, size);
}

}  // namespace ds2
