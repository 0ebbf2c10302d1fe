// One frame of the search: the inner loop.
#include <algorithm>
#include <cmath>
#include <functional>

#include "search.h"

namespace ds2 {
namespace {

// Without a lexicon: a trie of one node in which every token leads back.
struct AnySpelling {
  int32_t child(int32_t node, int32_t) const { return node; }
  bool ends_word(int32_t) const { return true; }
  float outlook(int32_t) const { return 0.0f; }
};

}  // namespace

void SearchState::advance(const float* log_probs, int64_t frames) {
  constexpr int64_t kSettleFrames = 8;
  for (int64_t t = 0; t < frames; ++t) {
    const float* frame = log_probs + t * search_->token_count();
    if (search_->lexicon()) {
      step(frame, *search_->lexicon());
    } else {
      step(frame, AnySpelling());
    }
    ++frame_;
    // Bound to the segment's frames, never to the calls: any cut gives the same words.
    if ((frame_ - segment_start_) % kSettleFrames == 0) settle();
  }
}

template <class Spelling>
void SearchState::step(const float* frame, const Spelling& spelling) {
  const float blank = frame[search_->blank()];
  if (blank >= log_cutoff_) return step_blank(blank);
  select_symbols(frame);
  stay(frame);
  find_bar();
  extend(spelling);
  survive();
}

// The blank alone reaches the cutoff: all hypotheses stay as they are and end with a blank.
void SearchState::step_blank(float log_prob) {
  offset_ += log_prob;
  if (all_blank_) return;
  all_blank_ = true;
  for (size_t i = 0; i < beam_.size(); ++i) {
    if (beam_.nonblank[i] > beam_.blank[i]) beam_.blank_moment[i] = beam_.nonblank_moment[i];
    beam_.blank[i] = beam_.total[i];
    beam_.nonblank[i] = kLogZero;
  }
}

// symbols_: the tokens of the cutoff without the blank, the likeliest first.
void SearchState::select_symbols(const float* frame) {
  const int count = search_->token_count();
  symbols_.clear();
  int token = 0;
  for (; token + 16 <= count; token += 16) {  // most blocks of a large token set are empty
    float highest = frame[token];
    for (int i = 1; i < 16; ++i) highest = std::max(highest, frame[token + i]);
    if (highest <= floor_log_prob_) continue;
    for (int i = token; i < token + 16; ++i) {
      if (frame[i] > floor_log_prob_) symbols_.push_back({frame[i], i});
    }
  }
  for (; token < count; ++token) {
    if (frame[token] > floor_log_prob_) symbols_.push_back({frame[token], token});
  }
  std::sort(symbols_.begin(), symbols_.end(), [](const Symbol& a, const Symbol& b) {
    return a.log_prob != b.log_prob ? a.log_prob > b.log_prob : a.token < b.token;
  });
  shift_ = symbols_.empty() ? frame[search_->blank()] : symbols_[0].log_prob;
  shift_ = std::max(shift_, kLogZero);
  const SearchOptions& options = search_->options();
  size_t kept = 0;
  float reached = 0.0f;
  for (const Symbol& symbol : symbols_) {
    if (kept == static_cast<size_t>(options.top)) break;
    if (options.cutoff < 1.0f) {
      if (reached >= options.cutoff) break;
      reached += std::exp(symbol.log_prob);
    }
    if (symbol.token == search_->blank()) continue;
    symbols_[kept++] = {symbol.log_prob - shift_, symbol.token};
  }
  symbols_.resize(kept);
  offset_ += shift_;
}

// What each hypothesis becomes when its prefix stays the same: a blank, its last token once more,
// or its last token now for the first time, after its parent's prefix.
void SearchState::stay(const float* frame) {
  const size_t size = beam_.size();
  const int space = search_->space();
  for (auto* array : {&emit_, &stays_, &enters_, &new_blank_, &new_nonblank_, &new_total_,
                      &ranks_}) {
    array->resize(size);
  }
  child_mask_.assign(size, 0);
  for (size_t i = 0; i < size; ++i) {
    const int32_t token = beam_.token[i];
    const float emit = token == kNoIndex ? kLogZero : std::max(frame[token], kLogZero) - shift_;
    // A space after a space is no new one, with blanks between them or without.
    stays_[i] = (token == space ? beam_.total[i] : beam_.nonblank[i]) + emit;
    const int32_t parent = tree_[beam_.node[i]].parent;
    const int32_t slot = parent == kNoIndex ? kNoIndex : tree_[parent].slot;
    enters_[i] = kLogZero;
    if (slot != kNoIndex) {
      child_mask_[slot] |= uint64_t{1} << (token & 63);
      enters_[i] = (token == beam_.token[slot] ? beam_.blank[slot] : beam_.total[slot]) + emit;
    }
    emit_[i] = emit;
  }
  const float blank = std::max(frame[search_->blank()], kLogZero) - shift_;
  for (size_t i = 0; i < size; ++i) {
    new_blank_[i] = beam_.total[i] + blank;
    new_nonblank_[i] = log_add(stays_[i], enters_[i]);
    new_total_[i] = log_add(new_blank_[i], new_nonblank_[i]);
    ranks_[i] = new_total_[i] + beam_.outlook[i];
  }
}

// The hypotheses that stay already rule out all extensions below this score.
void SearchState::find_bar() {
  float lowest = ranks_[0], highest = ranks_[0];
  for (const float rank : ranks_) {
    lowest = std::min(lowest, rank);
    highest = std::max(highest, rank);
  }
  bar_ = std::max(highest - search_->options().threshold, kImpossible);
  if (ranks_.size() >= static_cast<size_t>(search_->options().beam)) bar_ = std::max(bar_, lowest);
}

// Is hypothesis i, extended by the token, in the beam already? (stay() has counted that.)
bool SearchState::proposed(size_t i, int32_t token) const {
  if (!(child_mask_[i] >> (token & 63) & 1)) return false;
  if (search_->token_count() <= 64) return true;  // one bit per token
  const int32_t child = tree_.find(beam_.node[i], token);
  return child != kNoIndex && tree_[child].slot != kNoIndex;
}

template <class Spelling>
void SearchState::extend(const Spelling& spelling) {
  extensions_.clear();
  if (symbols_.empty()) return;
  const int space = search_->space();
  const float alpha = search_->alpha();
  // Where every token is a word, each brings its beta at once.
  const float gain = space == kNoIndex ? search_->options().beta : 0.0f;
  for (const Symbol& symbol : symbols_) {
    if (symbol.token == space) extend_by_word(spelling, symbol.log_prob);
  }
  for (size_t i = 0; i < beam_.size(); ++i) {
    const float reach = beam_.total[i] + beam_.outlook[i] + gain;
    for (const Symbol& symbol : symbols_) {
      if (reach + symbol.log_prob < bar_) break;  // the outlook never grows inside a word
      if (symbol.token == space || proposed(i, symbol.token)) continue;
      const int32_t child = spelling.child(beam_.spelling[i], symbol.token);
      if (child == Lexicon::kNone) continue;
      const bool repeats = symbol.token == beam_.token[i];
      const float total = (repeats ? beam_.blank[i] : beam_.total[i]) + symbol.log_prob;
      const float language = beam_.language[i] + gain;
      const float outlook = language + alpha * spelling.outlook(child);
      if (total + outlook < bar_) continue;
      extensions_.push_back({total + outlook, total, language, outlook, static_cast<int32_t>(i),
                             symbol.token, child});
    }
  }
}

// Extensions by the space token: a word is complete and the language model is asked, once.
template <class Spelling>
void SearchState::extend_by_word(const Spelling& spelling, float log_prob) {
  const int32_t root = Lexicon::kRoot;
  const float ahead = search_->alpha() * spelling.outlook(root);
  const float gain = search_->options().beta + ahead;
  for (size_t i = 0; i < beam_.size(); ++i) {
    if (beam_.token[i] == search_->space() || !spelling.ends_word(beam_.spelling[i])) continue;
    const float total = beam_.total[i] + log_prob;
    if (total + beam_.language[i] + gain < bar_ || proposed(i, search_->space())) continue;
    const float language = beam_.language[i] + word_language(beam_.node[i]);
    const float outlook = language + ahead;
    if (total + outlook < bar_) continue;
    extensions_.push_back({total + outlook, total, language, outlook, static_cast<int32_t>(i),
                           search_->space(), root});
  }
}

float SearchState::word_language(int32_t node) {
  Prefix& prefix = tree_[node];
  if (prefix.state != kNoIndex) return prefix.word_language;
  const int32_t before = tree_[prefix.boundary].state;
  const Lexicon* lexicon = search_->lexicon();
  prefix.word_language = search_->options().beta;
  if (search_->alpha() > 0.0f) {
    LmState after;
    prefix.word_language += search_->alpha() * search_->language_model().score(
        tree_.state(before), lexicon->word(prefix.spelling), &after);
    prefix.state = tree_.add_state(after);
  } else {
    prefix.state = before;
  }
  return prefix.word_language;
}

// The score that a new hypothesis needs: above the threshold, among the best of the beam.
float SearchState::survival_score() {
  const SearchOptions& options = search_->options();
  const size_t stays = ranks_.size();
  ranks_.reserve(stays + extensions_.size());
  for (const Extension& extension : extensions_) ranks_.push_back(extension.score);
  const float best = *std::max_element(ranks_.begin(), ranks_.end());
  // Nothing is possible any more after a frame of zeros: then keep what there is.
  return std::min(best, std::max(best - options.threshold, kImpossible));
}

void SearchState::survive() {
  const size_t stays = ranks_.size();
  const float needed = survival_score();
  const size_t room = search_->options().beam;
  size_t able = 0;
  kept_.resize(ranks_.size());
  for (size_t i = 0; i < ranks_.size(); ++i) able += kept_[i] = ranks_[i] >= needed;
  if (able > room) {
    sorted_ = ranks_;
    std::nth_element(sorted_.begin(), sorted_.begin() + room - 1, sorted_.end(),
                     std::greater<float>());
    const float last = sorted_[room - 1];
    size_t above = 0;
    for (const float rank : ranks_) above += rank > last;
    size_t ties = room - above;  // of equal scores the first stay
    for (size_t i = 0; i < ranks_.size(); ++i) {
      kept_[i] = ranks_[i] > last || (ranks_[i] == last && ties > 0 && ties--);
    }
  }
  next_.each_array([](auto& array) { array.clear(); });
  for (size_t i = 0; i < stays; ++i) {
    if (kept_[i]) keep_entry(i);
  }
  for (size_t i = stays; i < ranks_.size(); ++i) {
    if (kept_[i]) add_entry(extensions_[i - stays]);
  }
  for (const int32_t node : beam_.node) tree_[node].slot = kNoIndex;
  std::swap(beam_, next_);
  for (size_t i = 0; i < beam_.size(); ++i) tree_[beam_.node[i]].slot = static_cast<int32_t>(i);
  all_blank_ = false;
}

void SearchState::keep_entry(size_t i) {
  int32_t nonblank_moment = beam_.nonblank_moment[i];
  if (enters_[i] > stays_[i] && enters_[i] > kImpossible) {
    const int32_t from = tree_[tree_[beam_.node[i]].parent].slot;
    const bool repeats = beam_.token[from] == beam_.token[i];
    const int32_t before = repeats ? beam_.blank_moment[from] : moment_of(from);
    nonblank_moment = tree_.add_moment({frame_, before, emit_[i] + shift_});
  } else if (nonblank_moment != kNoIndex && stays_[i] > kImpossible) {
    const Moment& peak = tree_.moment(nonblank_moment);
    const float log_prob = emit_[i] + shift_;
    if (log_prob > peak.log_prob) {
      nonblank_moment = tree_.add_moment({frame_, peak.previous, log_prob});
    }
  }
  next_.blank.push_back(new_blank_[i]);
  next_.nonblank.push_back(new_nonblank_[i]);
  next_.total.push_back(new_total_[i]);
  next_.language.push_back(beam_.language[i]);
  next_.outlook.push_back(beam_.outlook[i]);
  next_.node.push_back(beam_.node[i]);
  next_.token.push_back(beam_.token[i]);
  next_.spelling.push_back(beam_.spelling[i]);
  next_.nonblank_moment.push_back(nonblank_moment);
  next_.blank_moment.push_back(moment_of(i));
}

void SearchState::add_entry(const Extension& extension) {
  const size_t from = extension.from;
  const int32_t parent = beam_.node[from];
  const int32_t space = search_->space();
  int32_t node = tree_.find(parent, extension.token);
  if (node == kNoIndex) {
    Prefix prefix;
    prefix.token = extension.token;
    prefix.spelling = extension.spelling;
    prefix.language = extension.language;
    prefix.words = tree_[parent].words;
    prefix.boundary = tree_[parent].boundary;
    const bool ends_word = space == kNoIndex || extension.token == space;
    if (ends_word) {
      ++prefix.words;
      prefix.boundary = static_cast<int32_t>(tree_.size());
      prefix.state = tree_[parent].state;
    }
    node = tree_.add(parent, prefix);
  }
  const bool repeats = extension.token == beam_.token[from];
  const int32_t before = repeats ? beam_.blank_moment[from] : moment_of(from);
  const float before_it = repeats ? beam_.blank[from] : beam_.total[from];
  const float log_prob = extension.total - before_it + shift_;
  const int32_t moment = tree_.add_moment({frame_, before, log_prob});
  next_.blank.push_back(kLogZero);
  next_.nonblank.push_back(extension.total);
  next_.total.push_back(extension.total);
  next_.language.push_back(extension.language);
  next_.outlook.push_back(extension.outlook);
  next_.node.push_back(node);
  next_.token.push_back(extension.token);
  next_.spelling.push_back(extension.spelling);
  next_.nonblank_moment.push_back(moment);
  next_.blank_moment.push_back(moment);
}

}  // namespace ds2
