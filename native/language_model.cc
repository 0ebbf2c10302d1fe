#include "language_model.h"

#include <filesystem>
#include <new>
#include <stdexcept>

#include "kenlm_check.h"
#include "lm/model.hh"

namespace ds2 {
namespace {

constexpr float kLn10 = 2.302585092994046f;  // KenLM's logarithms are decimal

// A natural logarithm. No sound model comes near the limit; a damaged one may score NaN or more.
float natural(float log10) {
  constexpr float kLimit = 1e4f;
  const float score = kLn10 * log10;
  return score > -kLimit ? (score < kLimit ? score : kLimit) : -kLimit;
}

// One class per storage layout of KenLM, so that its queries are inlined into ours.
template <class Model>
class KenlmModel final : public LanguageModel {
 public:
  KenlmModel(const char* path, const lm::ngram::Config& config) : model_(path, config) {}

  LmState start() const override {
    LmState state;
    new (state.memory) State(model_.BeginSentenceState());
    return state;
  }

  float score(const LmState& state, WordId word, LmState* next) const override {
    return natural(model_.Score(view(state), word, *new (next->memory) State));
  }

  float finish(const LmState& state) const override {
    State ignored;
    return natural(model_.Score(view(state), model_.GetVocabulary().EndSentence(), ignored));
  }

  float unigram(WordId word) const override {
    State ignored;
    return natural(model_.Score(model_.NullContextState(), word, ignored));
  }

  WordId index(std::string_view word) const override {
    return model_.GetVocabulary().Index(StringPiece(word.data(), word.size()));
  }

  int order() const override { return model_.Order(); }

  int64_t size() const override { return model_.GetVocabulary().Bound(); }

 private:
  using State = lm::ngram::State;
  static_assert(sizeof(State) <= sizeof(LmState::memory), "raise the size of LmState");

  static const State& view(const LmState& state) {
    return *reinterpret_cast<const State*>(state.memory);
  }

  Model model_;
};

lm::ngram::Config quiet_config() {
  lm::ngram::Config config;
  config.show_progress = false;
  config.messages = nullptr;
  config.arpa_complain = lm::ngram::Config::NONE;
  config.unknown_missing = lm::SILENT;
  config.sentence_marker_missing = lm::THROW_UP;
  config.positive_log_probability = lm::THROW_UP;
#ifdef DS2_READ_MODELS  // where a sanitizer watches: it does not see the bounds of mapped files
  config.load_method = util::READ;
#else
  config.load_method = util::LAZY;
#endif
  return config;
}

template <class Model>
std::shared_ptr<const LanguageModel> load(const std::string& path) {
  return std::make_shared<KenlmModel<Model>>(path.c_str(), quiet_config());
}

std::shared_ptr<const LanguageModel> load_recognised(const std::string& path) {
  using namespace lm::ngram;
  ModelType type = PROBING;  // the layout that an ARPA file is read into
  RecognizeBinary(path.c_str(), type);
  switch (type) {
    case PROBING: return load<ProbingModel>(path);
    case REST_PROBING: return load<RestProbingModel>(path);
    case TRIE: return load<TrieModel>(path);
    case QUANT_TRIE: return load<QuantTrieModel>(path);
    case ARRAY_TRIE: return load<ArrayTrieModel>(path);
    case QUANT_ARRAY_TRIE: return load<QuantArrayTrieModel>(path);
  }
  throw std::runtime_error("its binary layout is unknown");
}

// KenLM's messages are a line with the place in its sources, then the reason, which may quote the
// file: any bytes, any number of them.
std::string reason(const std::exception& error) {
  std::string text = error.what();
  const size_t line = text.find('\n');
  if (line != std::string::npos && line + 1 < text.size()) text.erase(0, line + 1);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  constexpr size_t kLongest = 300;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + " ...";
  for (char& c : text) c = c == '\n' ? ' ' : c < ' ' || c > '~' ? '?' : c;
  return text;
}

}  // namespace

float LanguageModel::sentence(const std::vector<std::string>& words) const {
  LmState state = start(), next;
  float total = 0.0f;
  for (const std::string& word : words) {
    total += score(state, index(word), &next);
    state = next;
  }
  return total + finish(state);
}

std::shared_ptr<const LanguageModel> load_kenlm(const std::string& path) {
  const std::string what = "cannot load the language model '" + path + "': ";
  const std::string need = "; needed is a KenLM binary or an ARPA file of order 2 to " +
                           std::to_string(KENLM_MAX_ORDER);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) throw std::runtime_error(what + "no such file");
  if (!std::filesystem::is_regular_file(path, ignored)) {
    throw std::runtime_error(what + "not a regular file" + need);
  }
  try {
    check_kenlm_file(path);
    return load_recognised(path);
  } catch (const std::bad_alloc&) {
    throw std::runtime_error(what + "not enough memory");
  } catch (const std::exception& error) {
    throw std::runtime_error(what + reason(error) + need);
  }
}

}  // namespace ds2
