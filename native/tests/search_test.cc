#include "search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "problems.h"

using namespace ds2;
using problems::kBlank;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const size_t kTokens = problems::letters().size();

std::shared_ptr<const LanguageModel> model() {
  return load_kenlm(DS2_TEST_DATA "/kenlm/small.quant_array_trie");
}

SearchOptions patient() {
  SearchOptions options = problems::usual();
  options.max_ambiguity = 30;
  return options;
}

// Everything that a stream is told, if its frames come in pieces of these lengths.
std::string streamed(const std::shared_ptr<const Search>& search, const std::vector<float>& frames,
                     unsigned seed, int64_t longest) {
  std::mt19937 random(seed);
  SearchState state(search);
  std::vector<Word> committed;
  const auto count = static_cast<int64_t>(frames.size() / kTokens);
  for (int64_t begin = 0; begin < count;) {
    const int64_t length = std::min(count - begin, static_cast<int64_t>(random() % longest + 1));
    state.advance(frames.data() + begin * static_cast<int64_t>(kTokens), length);
    begin += length;
    if (random() % 2) state.words();
    if (random() % 2) {
      for (Word& word : state.commit()) committed.push_back(std::move(word));
    }
  }
  for (Word& word : state.commit()) committed.push_back(std::move(word));
  return problems::show(committed) + "| " + problems::show(state.finish(5));
}

}  // namespace

TEST_CASE("how frames are cut and when words are asked for changes nothing, in any vocabulary") {
  for (const auto& search : problems::searches(model(), patient())) {
    for (unsigned seed = 0; seed < 8; ++seed) {
      const std::vector<float> frames = problems::random_frames(seed, 400, kTokens, 3.0f);
      const std::string whole = streamed(search, frames, seed, 1000);
      CHECK(streamed(search, frames, seed + 100, 1) == whole);
      CHECK(streamed(search, frames, seed + 200, 37) == whole);
    }
  }
}

TEST_CASE("a segment after others is like the first") {
  for (const auto& search : problems::searches(model(), patient())) {
    const std::vector<float> first = problems::random_frames(1, 90, kTokens, 2.0f);
    const std::vector<float> second = problems::random_frames(2, 90, kTokens, 2.0f);
    SearchState used(search), fresh(search);
    used.advance(first.data(), 90);
    used.finish(1);
    used.advance(second.data(), 90);
    fresh.advance(second.data(), 90);
    const std::vector<Hypothesis> got = used.finish(3), wanted = fresh.finish(3);
    REQUIRE(got.size() == wanted.size());
    for (size_t i = 0; i < got.size(); ++i) {
      CHECK(got[i].score == wanted[i].score);
      REQUIRE(got[i].words.size() == wanted[i].words.size());
      for (size_t w = 0; w < got[i].words.size(); ++w) {
        CHECK(got[i].words[w].text == wanted[i].words[w].text);
        CHECK(got[i].words[w].start_frame == wanted[i].words[w].start_frame + 90);
      }
    }
  }
}

TEST_CASE("impossible tokens leave scores that are numbers") {
  for (const float never : {-kInfinity, kLogZero, -1e38f, -200.0f}) {
    CAPTURE(never);
    for (const auto& search : problems::searches(model(), patient())) {
      SearchState state(search);
      for (size_t possible = 0; possible <= kTokens; ++possible) {  // at last, no token at all
        std::vector<float> frame(kTokens, never);
        if (possible < kTokens) frame[possible] = 0.0f;
        state.advance(frame.data(), 1);
        state.words();
      }
      for (const Hypothesis& one : state.finish(10)) {
        CHECK_FALSE(std::isnan(one.score));
        for (const Word& word : one.words) CHECK_FALSE(std::isnan(word.confidence));
      }
    }
  }
}

TEST_CASE("what was begun outside of the lexicon ends no word, once phrases or options forbid it") {
  const auto all = problems::searches(model(), patient());
  const std::shared_ptr<const Search> only_lexicon = all[2], open = all[4], listening = all[6];
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::vector<float> frames = problems::random_frames(seed, 200, kTokens, 3.0f);
    SearchState state(open);
    for (int64_t begin = 0; begin < 200; begin += 5) {
      state.use(begin % 3 == 0 ? only_lexicon : begin % 3 == 1 ? open : listening);
      state.advance(frames.data() + begin * static_cast<int64_t>(kTokens), 5);
      for (const Word& word : state.words()) CHECK(std::isfinite(word.confidence));
    }
    for (const Hypothesis& one : state.finish(3)) CHECK(std::isfinite(one.score));
  }
}

TEST_CASE("a long stream does not grow") {
  for (const auto& search : problems::searches(model(), patient())) {
    SearchState state(search);
    size_t nodes = 0, bytes = 0;
    for (unsigned block = 0; block < 60; ++block) {
      const std::vector<float> frames = problems::random_frames(block, 250, kTokens, 2.0f);
      state.advance(frames.data(), 250);
      state.commit();
      if (block == 30) nodes = state.nodes(), bytes = state.bytes();
    }
    CHECK(state.nodes() < 3 * nodes + 5000);
    CHECK(state.bytes() < 2 * bytes + 500000);
    CHECK(state.frames() == 60 * 250);
  }
}

TEST_CASE("a state keeps what it searches alive") {
  SearchState state(problems::searches(model(), patient())[2]);
  const std::vector<float> frames = problems::random_frames(5, 50, kTokens, 3.0f);
  state.advance(frames.data(), 50);
  CHECK_FALSE(state.finish(1).empty());
}

TEST_CASE("values that are no log probabilities are named") {
  for (const float bad : {std::nanf(""), 0.1f, kInfinity}) {
    std::vector<float> frames = problems::random_frames(5, 3, kTokens, 3.0f);
    frames[kTokens + 2] = bad;
    CHECK_THROWS_WITH_AS(check_frames(frames.data(), 3, static_cast<int64_t>(kTokens)),
                         doctest::Contains("log_probs[1, 2]"), std::invalid_argument);
  }
}
