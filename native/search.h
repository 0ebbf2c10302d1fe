// Streaming CTC prefix beam search.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "language_model.h"
#include "lexicon.h"
#include "log_math.h"
#include "prefix.h"

namespace ds2 {

struct SearchOptions {
  int beam;           // hypotheses kept after each frame
  float alpha;        // weight of the language model, natural logarithms
  float beta;         // added for each word
  float cutoff;       // only the likeliest tokens of a frame that reach this probability
  int top;            // and at most so many of them
  float threshold;    // hypotheses this far (nats) below the best are dropped
  int max_ambiguity;  // frames after which the best hypothesis' words are committed
};

struct Word {
  std::string text;
  int64_t start_frame;  // where its first token is likeliest
  int64_t end_frame;    // one after where its last token is likeliest
  float confidence;     // 0..1: geometric mean of its tokens' probabilities there
};

struct Hypothesis {
  double score;  // Q of all words since the segment began, committed ones included
  std::vector<Word> words;
};

// What is searched: tokens, lexicon, language model and options. Constant, shared by all states.
//
// Words are what stands between space tokens; without a space token, every token is a word.
// Without a lexicon any sequence of tokens is allowed.
class Search {
 public:
  // `lexicon` and `language_model` may be null. Throws std::invalid_argument.
  Search(std::vector<std::string> tokens, int blank, int space,
         std::shared_ptr<const Lexicon> lexicon,
         std::shared_ptr<const LanguageModel> language_model, SearchOptions options);

  const std::vector<std::string>& tokens() const { return tokens_; }
  int token_count() const { return static_cast<int>(tokens_.size()); }
  int blank() const { return blank_; }
  int space() const { return space_; }  // kNoIndex: there is none
  const Lexicon* lexicon() const { return lexicon_.get(); }
  const LanguageModel& language_model() const { return *language_model_; }
  float alpha() const { return alpha_; }
  const SearchOptions& options() const { return options_; }

 private:
  std::vector<std::string> tokens_;
  int blank_;
  int space_;
  std::shared_ptr<const Lexicon> lexicon_;
  std::shared_ptr<const LanguageModel> language_model_;
  SearchOptions options_;
  float alpha_;  // 0 without a language model, so that the lexicon's outlook does not count
};

// The hypotheses with the largest
//
//   Q(y) = log p_ctc(y | x) + alpha log p_lm(y) + beta |y|,     |y|: words of y
//
// where p_ctc(y | x) sums over all alignments that read as the words y: blanks dropped, repeats
// merged, spaces before, after and doubled between words ignored.
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
  // Ends the segment: the best n hypotheses, without what `commit` returned. Words that the
  // lexicon does not have are cut off, and only if no hypothesis is complete. Begins a new segment.
  std::vector<Hypothesis> finish(int n);

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
    std::vector<int32_t> node, token, spelling;
    std::vector<int32_t> nonblank_moment, blank_moment;  // of the last token, either way

    size_t size() const { return node.size(); }
    template <class Visit>
    void each_array(const Visit& visit) {
      for (auto* array : {&blank, &nonblank, &total, &language, &outlook}) visit(*array);
      for (auto* array : {&node, &token, &spelling, &nonblank_moment, &blank_moment}) {
        visit(*array);
      }
    }
  };
  struct Symbol {
    float log_prob;
    int32_t token;
  };
  struct Extension {  // of one hypothesis by one token
    float score, total, language, outlook;
    int32_t from, token, spelling;
  };
  struct Ending {  // a hypothesis at the end of the segment
    int32_t last;  // prefix of its complete words, without a space after them
    size_t entry;
    bool complete;
    float total, language;
    float score() const { return total + language; }
  };

  // step.cc: one frame
  template <class Spelling> void step(const float* frame, const Spelling& spelling);
  void step_blank(float log_prob);
  void select_symbols(const float* frame);
  void stay(const float* frame);
  void find_bar();
  template <class Spelling> void extend(const Spelling& spelling);
  template <class Spelling> void extend_by_word(const Spelling& spelling, float log_prob);
  void survive();
  float survival_score();
  void keep_entry(size_t i);
  void add_entry(const Extension& extension);
  float word_language(int32_t node);
  bool proposed(size_t i, int32_t token) const;

  // search_state.cc: segments, certain words, results
  void begin_segment();
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
  int32_t moment_of(size_t entry) const {
    return beam_.nonblank[entry] > beam_.blank[entry] ? beam_.nonblank_moment[entry]
                                                      : beam_.blank_moment[entry];
  }
  void append_path(size_t entry, int32_t last, std::vector<Word>* words) const;
  std::vector<Ending> endings();
  Ending ending(size_t entry);

  std::shared_ptr<const Search> search_;
  PrefixTree tree_;
  Beam beam_, next_;
  std::vector<Word> certain_;   // words that commit() has not yet returned
  int64_t frame_ = 0;           // frames since the state was made
  int64_t segment_start_ = 0;   // first frame of the segment
  int64_t certain_end_ = 0;     // no later word begins before this frame
  double offset_ = 0.0;         // add to a score to get Q
  bool all_blank_ = false;      // no hypothesis has mass that ends with a token

  // Working space of step(), kept so that no frame allocates.
  std::vector<Symbol> symbols_;
  std::vector<Extension> extensions_;
  std::vector<float> emit_, stays_, enters_, sorted_, new_blank_, new_nonblank_, new_total_, ranks_;
  std::vector<uint64_t> child_mask_;
  std::vector<char> kept_;
  float bar_ = kLogZero;     // new hypotheses below this score cannot survive
  float shift_ = 0.0f;       // taken from all log probabilities of the frame
  float floor_log_prob_;     // tokens below this cannot belong to the cutoff
  float log_cutoff_;
};

// Throws std::invalid_argument for the first value that is not a log probability.
void check_frames(const float* log_probs, int64_t frames, int64_t tokens);

}  // namespace ds2
