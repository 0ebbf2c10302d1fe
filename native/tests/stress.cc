// Many streams over the same searches, on many threads at once: every stream must tell what it
// tells alone. For the thread sanitizer, mostly.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "problems.h"

using namespace ds2;

namespace {

constexpr size_t kFrames = 240;

std::string stream(const std::shared_ptr<const Search>& search, unsigned seed) {
  const size_t tokens = static_cast<size_t>(search->token_count());
  const std::vector<float> frames = problems::random_frames(seed, kFrames, tokens, 2.5f);
  SearchState state(search);
  std::string told;
  for (size_t begin = 0, length; begin < kFrames; begin += length) {
    length = std::min(kFrames - begin, 1 + (seed * 7 + begin) % 50);
    state.advance(frames.data() + begin * tokens, static_cast<int64_t>(length));
    told += problems::show(state.commit()) + "/" + problems::show(state.words()) + "\n";
    if (seed % 3 == 0 && begin > kFrames / 2) told += problems::show(state.finish(2));
  }
  return told + problems::show(state.finish(4));
}

}  // namespace

int main(int argc, char** argv) {
  const size_t threads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 8;
  const unsigned streams = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 20;
  SearchOptions options = problems::usual();
  options.max_ambiguity = 40;
  const auto model = load_kenlm(DS2_TEST_DATA "/kenlm/small.quant_array_trie");
  const auto searches = problems::searches(model, options);
  std::vector<std::string> alone;
  for (const auto& search : searches) {
    for (unsigned seed = 0; seed < streams; ++seed) alone.push_back(stream(search, seed));
  }
  std::vector<size_t> different(threads);
  std::vector<std::thread> running;
  for (size_t thread = 0; thread < threads; ++thread) {
    running.emplace_back([&, thread] {
      for (size_t i = 0; i < alone.size(); ++i) {
        const size_t which = (i * 13 + thread * 5) % alone.size();  // not all in the same order
        const std::string told = stream(searches[which / streams], which % streams);
        different[thread] += told != alone[which];
      }
    });
  }
  size_t wrong = 0;
  for (size_t thread = 0; thread < threads; ++thread) {
    running[thread].join();
    wrong += different[thread];
  }
  std::printf("%zu threads, %zu streams each: %zu different from alone\n", threads, alone.size(),
              wrong);
  return wrong == 0 ? 0 : 1;
}
