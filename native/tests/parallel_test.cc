#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "parallel.h"

using namespace ds2;

TEST_CASE("every piece of work is done once, on any number of threads") {
  for (const size_t threads : {1, 2, 7, 100}) {
    std::vector<int> done(50);
    parallel_for(done.size(), threads, [&](size_t i) { ++done[i]; });
    CHECK(done == std::vector<int>(50, 1));
  }
  parallel_for(0, 4, [](size_t) { FAIL("there is no work"); });
}

TEST_CASE("an exception is thrown on when all else is done") {
  std::atomic<int> done{0};
  const auto work = [&](size_t i) {
    ++done;
    if (i % 10 == 3) throw std::invalid_argument("three");
  };
  CHECK_THROWS_WITH_AS(parallel_for(50, 3, work), "three", std::invalid_argument);
  CHECK(done == 50);
}
