// Streaming CTC prefix beam search.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "confidence.h"
#include "heard.h"
#include "language_model.h"
#include "log_math.h"
#include "prefix.h"
#include "survivors.h"
#include "vocabulary.h"

namespace ds2 {

struct SearchOptions {
  int beam;           // hypotheses kept after each frame
  float alpha;        // weight of the language model, natural logarithms
  float beta;         // added for each word
  float cutoff;       // only the likeliest tokens of a frame that reach this probability
  int top;            // and at most so many of them
  float threshold;    // hypotheses this far (nats) below the best are dropped
  int max_ambiguity;  // frames after which the best hypothesis' words are committed
  float unknown;      // cost of a word that lexicon or closed vocabulary lack; infinite: none
  float prior;        // how much of the label prior is divided out: 0 none, 1 all of it
};

struct Token {
  std::string text;
  int64_t start_frame;  // where it is likeliest
  int64_t end_frame;    // where it is over and, soon after, another token is heard
};

struct Word {
  std::string text;
  int64_t start_frame;  // where its first token is likeliest
  int64_t end_frame;    // where its last token ends
  float confidence;     // 0..1; without a fit the geometric mean of its tokens' probabilities
  Evidence evidence;    // what the confidence is made of
  std::vector<Token> tokens;
};

struct Hypothesis {
  double score;  // Q of all words since the segment began, committed ones included
  std::vector<Word> words;
};

// What a word may be and what is known about it; each part may be null or empty.
struct SearchParts {
  std::shared_ptr<const Lexicon> lexicon;           // words; none: any sequence of tokens
  std::shared_ptr<const ClosedVocabulary> closed;   // instead of a lexicon: phrases
  std::shared_ptr<const LanguageModel> language_model;  // of words; without a lexicon of tokens
  std::shared_ptr<const Phrases> phrases;           // to listen for
  std::vector<float> prior;                         // log p(token) over all frames
  std::optional<Confidence> confidence;             // of words
};

// What is searched: tokens, parts and options. Constant, shared by all states.
//
// Words are what stands between space tokens; without a space token, every token is a word.
class Search {
 public:
  // Throws std::invalid_argument.
  Search(Speller speller, SearchParts parts, SearchOptions options);

  const std::vector<std::string>& tokens() const { return speller_.tokens(); }
  int token_count() const { return static_cast<int>(tokens().size()); }
  int blank() const { return speller_.blank(); }
  int space() const { return speller_.space(); }  // kNoIndex: there is none
  const ClosedVocabulary* closed() const { return parts_.closed.get(); }
  const LanguageModel& language_model() const { return *parts_.language_model; }
  WordId token_word(int32_t token) const { return token_words_[token]; }
  float alpha() const { return alpha_; }
  // What is taken from each token's log probability; empty: nothing.
  const std::vector<float>& prior() const { return parts_.prior; }
  bool has_phrases() const { return parts_.phrases != nullptr; }
  const std::optional<Confidence>& confidence() const { return parts_.confidence; }
  // Do both search the same words, scored by the same language model?
  bool has_words_of(const Search& other) const;
  // May words be of any length?
  bool has_endless_words() const { return !parts_.lexicon || std::isfinite(options_.unknown); }
  // May different tokens give the same words?
  bool has_many_spellings() const { return many_spellings_; }
  const SearchOptions& options() const { return options_; }

  // visit(vocabulary): see vocabulary.h.
  template <class Visit>
  auto visit_vocabulary(const Visit& visit) const {
    const Lexicon* lexicon = parts_.lexicon.get();
    if (parts_.closed) return visit(ClosedWords(*parts_.closed, options_.unknown));
    if (lexicon && std::isfinite(options_.unknown)) {
      return visit_phrases(OpenWords(*lexicon, alpha_, unknown_, options_.unknown), visit);
    }
    if (lexicon) return visit_phrases(LexiconWords(*lexicon, alpha_), visit);
    if (!token_words_.empty()) return visit_phrases(ScoredTokens(), visit);
    return visit_phrases(AnyWords(), visit);
  }

 private:
  template <class Words, class Visit>
  auto visit_phrases(const Words& words, const Visit& visit) const {
    if (parts_.phrases) return visit(WithPhrases<Words>(words, *parts_.phrases, unknown_));
    return visit(words);
  }
  void check_parts() const;
  void index_tokens();

  Speller speller_;
  SearchParts parts_;
  SearchOptions options_;
  std::vector<WordId> token_words_;  // of the language model, where its words are the tokens
  float alpha_;    // 0 without a language model, so that the lexicon's outlook does not count
  float unknown_;  // alpha log p(unknown word), without context
  bool many_spellings_ = false;
};

// The hypotheses with the largest
//
//   Q(y) = log p_ctc(y | x) + alpha log p_lm(y) + beta |y| + boosts - unknown * unknown words
//
// where |y| counts the words of y, p_ctc(y | x) sums over all alignments that read as the words y
// (blanks dropped, repeats merged, spaces before, after and doubled between words ignored), and
// the boost of each phrase counts for each time that y has it. With a label prior, p(token) of a
// frame is divided by prior(token)^weight and normalised before all else.
//
//   SearchState state(search);
//   while (more) {                                    // online
//     state.advance(log_probs, frames);
//     for (Word& word : state.commit()) ...           // these will not change any more
//     for (Word& word : state.words()) ...            // these may
//   }
//   state.finish(n);                                  // offline: advance with everything, finish
//
// How the frames are cut into calls changes nothing. One thread at a time.
class SearchState {
 public:
  explicit SearchState(std::shared_ptr<const Search> search);

  // `log_probs`: frames x tokens, natural logarithms, neither NaN nor above 0 (see check_frames).
  void advance(const float* log_probs, int64_t frames);
  // Words that became certain since the last call.
  std::vector<Word> commit();
  // Words of the best hypothesis after those that `commit` returned, the last as far as spelled.
  std::vector<Word> words() const;
  // Goes on with other phrases and options. What hypotheses were paid so far stays as it is.
  // Throws std::invalid_argument for other words or another language model.
  void use(std::shared_ptr<const Search> search);
  // Ends the segment: the best n hypotheses, without what `commit` returned. Words that the
  // lexicon does not have are cut off, and only if no hypothesis is complete. Begins a new segment.
  std::vector<Hypothesis> finish(size_t n);

  int64_t frames() const { return frame_; }
  size_t nodes() const { return tree_.size(); }
  size_t bytes() const;
  const Search& search() const { return *search_; }

 private:
  // The hypotheses, one array for each property. Scores are relative to `offset_`.
  struct Beam {
    std::vector<float> blank;     // log probability of all alignments that end with a blank
    std::vector<float> nonblank;  // and of those that end with the prefix' last token
    std::vector<float> total;     // of both
    std::vector<float> language;  // alpha log p_lm + beta of the complete words
    std::vector<float> outlook;   // `language` plus the best that the begun word can add
    std::vector<int32_t> node, token;
    std::vector<Place> place;
    std::vector<int32_t> nonblank_moment, blank_moment;  // of the last token, either way
    // Only with phrases:
    std::vector<float> credit;  // for what is begun, a part of `outlook`
    std::vector<char> saved;    // without credit it would not be here

    size_t size() const { return node.size(); }
    template <class Visit>
    void each_array(const Visit& visit) {
      for (auto* array : {&blank, &nonblank, &total, &language, &outlook}) visit(*array);
      for (auto* array : {&node, &token, &nonblank_moment, &blank_moment}) visit(*array);
      visit(place), visit(credit), visit(saved);
    }
  };
  struct Extension {  // of one hypothesis by one token
    float score, total, language, outlook;
    int32_t from, token;
    Place place;
    int32_t state;  // of the language model, in reached_, where it scores tokens
    float credit;
    bool saved;
  };
  struct Step {  // one token of a path
    int32_t node, moment;
  };
  struct Ending {  // a hypothesis at the end of the segment
    int32_t last;  // prefix of its complete words, without a space after them
    size_t entry;
    bool complete;
    float total, language;
    double score() const { return double{total} + language; }
  };

  // frame.cc, step.cc: one frame
  template <class Vocabulary> void step(const float* frame, const Vocabulary& vocabulary);
  const float* divide_by_prior(const float* frame);
  void step_blank(float log_prob);
  void collect_symbols(const float* frame);
  void select_symbols(const float* frame);
  void stay(const float* frame);
  void find_bar();
  void find_bars_beside_phrases();
  template <class Vocabulary> float bar_of(const Vocabulary& vocabulary, size_t i) const;
  template <class Vocabulary>
  float bar_of(const Vocabulary& vocabulary, size_t i, const Place& place, bool paid) const;
  bool is_out(size_t i) const;
  template <class Vocabulary> bool is_saved(size_t i) const {
    return Vocabulary::kHasPhrases && beam_.saved[i];
  }
  // Hypotheses that phrases alone may save, beside the beam.
  size_t phrase_room() const { return static_cast<size_t>(search_->options().beam) / 32 + 1; }
  template <class Vocabulary> void extend(const Vocabulary& vocabulary);
  template <class Vocabulary> void extend_by_word(const Vocabulary& vocabulary, float log_prob);
  float token_language(size_t i, int32_t token);
  template <class Vocabulary> float word_language(const Vocabulary& vocabulary, int32_t node);
  template <class Vocabulary> void survive(const Vocabulary& vocabulary);
  void survive_beside_phrases(size_t stays);
  void keep_entry(size_t i);
  template <class Vocabulary>
  void add_entry(const Extension& extension, const Vocabulary& vocabulary);
  bool proposed(size_t i, int32_t token) const;

  // search_state.cc: segments, certain words; results.cc: words and endings
  void begin_segment();
  void find_limits();
  template <class Vocabulary> void place_again(const Vocabulary& vocabulary);
  void settle();
  void renormalise();
  void compact();
  int32_t shared_boundary() const;
  void resolve_old();
  void commit_to(int32_t node, size_t entry);
  void drop_entries();
  bool is_old(size_t entry, int32_t node) const;
  bool descends(int32_t node, int32_t ancestor) const;
  int32_t first_boundary(size_t entry) const;
  int32_t first_prefix(size_t entry) const;
  size_t best() const;
  int32_t now() const { return static_cast<int32_t>(frame_ - segment_start_); }
  int32_t add_moment(int32_t previous, float log_prob, float total);
  int32_t moment_of(size_t entry) const {
    return beam_.nonblank[entry] > beam_.blank[entry] ? beam_.nonblank_moment[entry]
                                                      : beam_.blank_moment[entry];
  }
  void append_path(size_t entry, int32_t last, bool over, std::vector<Word>* words) const;
  std::vector<Step> path(size_t entry) const;
  Word spoken(const Step* begin, const Step* end, const Step* stop, int64_t floor) const;
  int32_t end_frame(const Step* begin, const Step* step, const Step* stop) const;
  float language_of(const Step* begin, const Step* end, const Step* stop) const;
  const Step* find_unknown(const Step* begin, const Step* stop, bool over) const;
  std::vector<Ending> endings();
  void merge_texts(std::vector<Ending>* endings) const;
  int32_t without_space(int32_t node) const;
  template <class Vocabulary> Ending ending(const Vocabulary& vocabulary, size_t entry);

  std::shared_ptr<const Search> search_;
  PrefixTree tree_;
  Beam beam_, next_;
  std::vector<Word> certain_;   // words that commit() has not yet returned
  int64_t frame_ = 0;           // frames since the state was made
  int64_t segment_start_ = 0;   // first frame of the segment
  int64_t certain_end_ = 0;     // no later word begins before this frame
  double offset_ = 0.0;         // add to a score to get Q
  double depth_ = 0.0;          // add to a total to get a moment's depth
  float root_depth_ = 0.0f;     // of the last moment before the root
  Heard heard_;
  bool all_blank_ = false;      // no hypothesis has mass that ends with a token
  bool has_cut_ = false;        // inside a word: a space before what follows changes no text

  // Working space of step(), kept so that no frame allocates.
  std::vector<Symbol> symbols_;
  std::vector<Extension> extensions_;
  std::vector<float> emit_, stays_, enters_, new_blank_, new_nonblank_, new_total_, ranks_;
  std::vector<uint64_t> child_mask_;
  std::vector<char> kept_, saved_;
  Survivors survivors_;
  std::vector<float> sure_;  // ranks_ without credit
  std::vector<std::pair<float, size_t>> begun_;  // scores that only credit saves, and whose
  std::vector<LmState> reached_;   // of extensions, where the language model scores tokens
  std::vector<float> divided_;     // a frame without the label prior
  float bar_ = kLogZero;     // new hypotheses below this score cannot survive
  float phrase_bar_ = kLogZero;  // the same for those that a phrase may save
  float shift_ = 0.0f;       // taken from all log probabilities of the frame
  float floor_log_prob_;     // tokens below this cannot belong to the cutoff
  float sure_blank_;         // a blank of this log probability is the cutoff, alone
};

// What the word that ends at `node` brings; the language model is asked once.
template <class Vocabulary>
float SearchState::word_language(const Vocabulary& vocabulary, int32_t node) {
  Prefix& prefix = tree_[node];
  if (prefix.asked) return prefix.word_language;
  prefix.asked = true;
  prefix.word_language = search_->options().beta + vocabulary.word_gain(prefix.place);
  prefix.word_state = prefix.state;
  if (!Vocabulary::kScoresTokens && search_->alpha() > 0.0f) {
    LmState after;
    prefix.word_language += search_->alpha() * search_->language_model().score(
        tree_.state(prefix.state), vocabulary.word(prefix.place), &after);
    prefix.word_state = tree_.add_state(after);
  }
  return prefix.word_language;
}

// Throws std::invalid_argument for the first value that is not a log probability.
void check_frames(const float* log_probs, int64_t frames, int64_t tokens);

}  // namespace ds2
