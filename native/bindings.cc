// The Python face of the native code: checks every argument, releases the GIL, and turns every
// C++ exception into a Python one.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <pybind11/numpy.h>

#include "alignment.h"
#include "closed_vocabulary.h"
#include "language_model.h"
#include "lexicon.h"
#include "parallel.h"
#include "phrases.h"
#include "search.h"
#include "speller.h"
#include "standard_error.h"

namespace py = pybind11;
using namespace ds2;

void bind_features(py::module_& m);  // bindings_features.cc
void bind_arrays(py::module_& m);     // bindings_arrays.cc

namespace {

// pybind11's holders are of non-const type; nothing below changes a shared object.
class PyLanguageModel {
 public:
  explicit PyLanguageModel(const std::string& path) {
    py::gil_scoped_release nogil;
    model = load_kenlm(path);
  }
  std::shared_ptr<const LanguageModel> model;
};

class PyLexicon {
 public:
  PyLexicon(const py::list& words, const Speller& speller,
            const PyLanguageModel* language_model) {
    std::vector<std::string_view> views;
    views.reserve(words.size());
    for (const py::handle word : words) {
      Py_ssize_t size = 0;
      if (!PyUnicode_Check(word.ptr())) {
        throw py::type_error("words must be str, got " + std::string(py::str(py::type::of(word))));
      }
      const char* text = PyUnicode_AsUTF8AndSize(word.ptr(), &size);
      if (!text) throw py::error_already_set();
      views.emplace_back(text, size);
    }
    const py::list keep = words;  // the strings that `views` look at
    py::gil_scoped_release nogil;
    lexicon = std::make_shared<const Lexicon>(views, speller,
                                              language_model ? language_model->model : nullptr);
  }
  std::shared_ptr<const Lexicon> lexicon;
};

struct PyPhrases {
  std::shared_ptr<const Phrases> phrases;
};

struct PyClosedVocabulary {
  std::shared_ptr<const ClosedVocabulary> vocabulary;
};

struct PySearch {
  std::shared_ptr<const Search> search;
};

py::tuple to_python(const Word& word) {
  py::tuple tokens(word.tokens.size());
  for (size_t i = 0; i < word.tokens.size(); ++i) {
    const Token& token = word.tokens[i];
    tokens[i] = py::make_tuple(token.text, token.start_frame, token.end_frame);
  }
  const Evidence& evidence = word.evidence;
  return py::make_tuple(word.text, word.start_frame, word.end_frame, word.confidence, tokens,
                        py::make_tuple(evidence.letters, evidence.pace, evidence.language,
                                       evidence.deficit, evidence.clarity, evidence.usual_clarity));
}

py::list to_python(const std::vector<Word>& words) {
  py::list list;
  for (const Word& word : words) list.append(to_python(word));
  return list;
}

py::list to_python(const std::vector<Hypothesis>& hypotheses) {
  py::list list;
  for (const Hypothesis& one : hypotheses) {
    list.append(py::make_tuple(one.score, to_python(one.words)));
  }
  return list;
}

// Log probabilities of an array that outlives this.
struct Frames {
  Frames(const py::array& array, int64_t tokens) : tokens(tokens) {
    const std::string need = "log_probs must be a float32 array of shape (frames, " +
                             std::to_string(tokens) + "), C-contiguous; got ";
    if (!array.dtype().equal(py::dtype::of<float>())) {
      throw py::type_error(need + "dtype " + std::string(py::str(array.dtype())));
    }
    if (array.ndim() != 2 || array.shape(1) != tokens) {
      throw std::invalid_argument(need + "shape " + std::string(py::str(array.attr("shape"))));
    }
    if (!(array.flags() & py::array::c_style)) {
      throw std::invalid_argument(need + "other strides; use numpy.ascontiguousarray");
    }
    data = static_cast<const float*>(array.data());
    count = array.shape(0);
    if (reinterpret_cast<uintptr_t>(data) % alignof(float)) {
      throw std::invalid_argument(need + "one that is not aligned; use its copy()");
    }
  }
  void check() const { check_frames(data, count, tokens); }

  const float* data;
  int64_t count, tokens;
};

size_t checked(const char* name, int value) {
  if (value >= 1) return static_cast<size_t>(value);
  throw std::invalid_argument(std::string(name) + " must be 1 or more, got " +
                              std::to_string(value));
}

// A SearchState that refuses a second thread while one is inside.
class PyState {
 public:
  explicit PyState(std::shared_ptr<const Search> search) : state_(std::move(search)) {}

  void advance(const py::array& log_probs) {
    const Guard guard(this);
    const Frames frames(log_probs, state_.search().token_count());
    py::gil_scoped_release nogil;
    frames.check();
    state_.advance(frames.data, frames.count);
  }

  // Each state takes its own frames, on several threads. A bad array leaves all as they were.
  static void advance_all(const std::vector<PyState*>& states, const std::vector<py::array>& blocks,
                          int threads) {
    if (states.size() != blocks.size()) {
      throw std::invalid_argument("needed an array for each of the " +
                                  std::to_string(states.size()) + " states, got " +
                                  std::to_string(blocks.size()));
    }
    std::deque<Guard> guards;  // also against the same state twice
    std::vector<Frames> frames;
    for (size_t i = 0; i < states.size(); ++i) {
      if (!states[i]) throw py::type_error("needed a SearchState, got None");
      guards.emplace_back(states[i]);
      frames.emplace_back(blocks[i], states[i]->state_.search().token_count());
    }
    const size_t pool = checked("threads", threads);
    py::gil_scoped_release nogil;
    for (const Frames& block : frames) block.check();
    parallel_for(states.size(), pool,
                 [&](size_t i) { states[i]->state_.advance(frames[i].data, frames[i].count); });
  }

  py::list commit() {
    const Guard guard(this);
    return to_python(state_.commit());
  }

  py::list words() {
    const Guard guard(this);
    return to_python(state_.words());
  }

  void use(const PySearch& search) {
    const Guard guard(this);
    state_.use(search.search);
  }

  py::list finish(int n) {
    const Guard guard(this);
    const size_t most = checked("n", n);
    std::vector<Hypothesis> hypotheses;
    {
      py::gil_scoped_release nogil;
      hypotheses = state_.finish(most);
    }
    return to_python(hypotheses);
  }

  int64_t frames() { return Guard(this), state_.frames(); }
  size_t nodes() { return Guard(this), state_.nodes(); }
  size_t bytes() { return Guard(this), state_.bytes(); }

 private:
  class Guard {
   public:
    explicit Guard(PyState* owner) : owner_(owner) {
      if (owner_->busy_.exchange(true)) {
        throw std::runtime_error("a SearchState is used twice at once; make one for each thread");
      }
    }
    ~Guard() { owner_->busy_ = false; }
    Guard(const Guard&) = delete;

   private:
    PyState* owner_;
  };

  SearchState state_;
  std::atomic<bool> busy_{false};
};

void bind_language(py::module_& m) {
  py::class_<PyLanguageModel>(m, "LanguageModel")
      .def(py::init<const std::string&>(), py::arg("path"))
      .def_property_readonly("order",
                             [](const PyLanguageModel& self) { return self.model->order(); })
      .def("__contains__",
           [](const PyLanguageModel& self, const std::string& word) {
             return self.model->index(word) != kUnknownWord;
           })
      .def("score",
           [](const PyLanguageModel& self, const std::vector<std::string>& words) {
             return self.model->sentence(words);
           },
           py::arg("words"));
}

// Lists of whole recordings, each from its first frame to its last.
py::list decode(const PySearch& self, const std::vector<py::array>& log_probs, int n, int threads) {
  const size_t most = checked("n", n), pool = checked("threads", threads);
  std::vector<Frames> frames;
  for (const py::array& one : log_probs) frames.emplace_back(one, self.search->token_count());
  std::vector<std::vector<Hypothesis>> results(frames.size());
  std::vector<size_t> longest_first(frames.size());
  std::iota(longest_first.begin(), longest_first.end(), size_t{0});
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](size_t a, size_t b) { return frames[a].count > frames[b].count; });
  {
    py::gil_scoped_release nogil;
    parallel_for(frames.size(), pool, [&](size_t at) {
      const size_t i = longest_first[at];  // so that no thread is left alone with a long one
      frames[i].check();
      SearchState state(self.search);
      state.advance(frames[i].data, frames[i].count);
      results[i] = state.finish(most);
    });
  }
  py::list list;
  for (const std::vector<Hypothesis>& one : results) list.append(to_python(one));
  return list;
}

void bind_words(py::module_& m) {
  py::class_<Speller>(m, "Speller")
      .def(py::init([](std::vector<std::string> tokens, int blank, std::optional<int> space) {
             if (space && *space < 0) {
               throw std::invalid_argument("space must be a token index or None, got " +
                                           std::to_string(*space));
             }
             return Speller(std::move(tokens), blank, space.value_or(kNoIndex));
           }),
           py::arg("tokens"), py::arg("blank"), py::arg("space"));
  py::class_<PyPhrases>(m, "Phrases")
      .def(py::init([](const std::vector<std::pair<std::string, float>>& phrases,
                       const Speller& speller) {
             std::vector<Phrase> all;
             for (const auto& [text, boost] : phrases) all.push_back({text, boost});
             return PyPhrases{std::make_shared<const Phrases>(all, speller)};
           }),
           py::arg("phrases"), py::arg("speller"));
  py::class_<PyClosedVocabulary>(m, "ClosedVocabulary")
      .def(py::init([](const std::vector<std::string>& phrases, const Speller& speller) {
             return PyClosedVocabulary{std::make_shared<const ClosedVocabulary>(phrases, speller)};
           }),
           py::arg("phrases"), py::arg("speller"))
      .def_property_readonly(
          "size", [](const PyClosedVocabulary& self) { return self.vocabulary->size(); });
  py::class_<PyLexicon>(m, "Lexicon")
      .def(py::init<const py::list&, const Speller&, const PyLanguageModel*>(), py::arg("words"),
           py::arg("speller"), py::arg("language_model") = nullptr)
      .def_property_readonly("size", [](const PyLexicon& self) { return self.lexicon->size(); })
      .def("__contains__", [](const PyLexicon& self, const std::string& word) {
        return self.lexicon->contains(word);
      });
}

void bind_search(py::module_& m) {
  py::class_<SearchOptions>(m, "SearchOptions")
      .def(py::init([](int beam, float alpha, float beta, float cutoff, int top, float threshold,
                       int max_ambiguity, float unknown, float prior) {
             return SearchOptions{beam,      alpha,         beta,    cutoff, top,
                                  threshold, max_ambiguity, unknown, prior};
           }),
           py::kw_only(), py::arg("beam"), py::arg("alpha"), py::arg("beta"), py::arg("cutoff"),
           py::arg("top"), py::arg("threshold"), py::arg("max_ambiguity"), py::arg("unknown"),
           py::arg("prior"));
  py::class_<Confidence>(m, "Confidence")
      .def(py::init([](float bias, float letters, float pace, float language, float deficit,
                       float clarity, float usual_clarity) {
             return Confidence{bias, letters, pace, language, deficit, clarity, usual_clarity};
           }),
           py::kw_only(), py::arg("bias"), py::arg("letters"), py::arg("pace"),
           py::arg("language"), py::arg("deficit"), py::arg("clarity"), py::arg("usual_clarity"));
  py::class_<PyState>(m, "SearchState")
      .def("advance", &PyState::advance, py::arg("log_probs"))
      .def("commit", &PyState::commit)
      .def("words", &PyState::words)
      .def("use", &PyState::use, py::arg("search"))
      .def("finish", &PyState::finish, py::arg("n") = 1)
      .def_property_readonly("frames", &PyState::frames)
      .def_property_readonly("nodes", &PyState::nodes)
      .def_property_readonly("bytes", &PyState::bytes);
  py::class_<PySearch>(m, "Search")
      .def(py::init([](const Speller& speller, const PyLexicon* lexicon,
                       const PyClosedVocabulary* closed, const PyLanguageModel* language_model,
                       const PyPhrases* phrases, std::vector<float> prior,
                       const std::optional<Confidence>& confidence, const SearchOptions& options) {
             SearchParts parts;
             if (lexicon) parts.lexicon = lexicon->lexicon;
             if (closed) parts.closed = closed->vocabulary;
             if (language_model) parts.language_model = language_model->model;
             if (phrases) parts.phrases = phrases->phrases;
             parts.prior = std::move(prior);
             parts.confidence = confidence;
             return PySearch{std::make_shared<const Search>(speller, std::move(parts), options)};
           }),
           py::arg("speller"), py::kw_only(), py::arg("lexicon") = nullptr,
           py::arg("closed") = nullptr, py::arg("language_model") = nullptr,
           py::arg("phrases") = nullptr, py::arg("prior") = std::vector<float>(),
           py::arg("confidence") = std::nullopt, py::arg("options"))
      .def("decode", &decode, py::arg("log_probs"), py::arg("n") = 1, py::arg("threads") = 1)
      .def("start", [](const PySearch& self) { return std::make_unique<PyState>(self.search); });
}

// See alignment.h. Each word is a list of columns.
py::array_t<int32_t> align_words(const py::array& scores,
                                 const std::vector<std::vector<int32_t>>& words, int32_t blank,
                                 int32_t inner, std::optional<int32_t> space, float foreign, float leave_out,
                                 float left_token, float beam) {
  const Frames frames(scores, scores.ndim() == 2 ? scores.shape(1) : 0);
  AlignmentText text{{}, {0}, blank, inner, space.value_or(kNoIndex)};
  for (const std::vector<int32_t>& word : words) {
    text.tokens.insert(text.tokens.end(), word.begin(), word.end());
    text.starts.push_back(static_cast<int32_t>(text.tokens.size()));
  }
  std::vector<int32_t> states;
  {
    py::gil_scoped_release nogil;
    for (int64_t i = 0; i < frames.count * frames.tokens; ++i) {
      if (!(frames.data[i] <= 0)) {
        throw std::invalid_argument("scores must be 0 or less, got " +
                                    std::to_string(frames.data[i]));
      }
    }
    states = align(frames.data, frames.count, static_cast<int32_t>(frames.tokens), text,
                   {foreign, leave_out, left_token, beam}, [] {
                     const py::gil_scoped_acquire gil;  // Ctrl-C is to be heard
                     if (PyErr_CheckSignals()) throw py::error_already_set();
                   });
  }
  return py::array_t<int32_t>(static_cast<py::ssize_t>(states.size()), states.data());
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() =
      "Feature frames; CTC prefix beam search with a lexicon and an n-gram language model; CTC "
      "alignment.";
  bind_features(m);
  bind_arrays(m);
  bind_language(m);
  bind_words(m);
  bind_search(m);
  m.def("advance_all", &PyState::advance_all, py::arg("states"), py::arg("blocks"),
        py::arg("threads") = 1);
  m.def("speak_at_exit", &speak_at_exit);
  m.def("silent_at_exit", &silent_at_exit);
  m.def("align", &align_words, py::arg("scores"), py::arg("words"), py::kw_only(),
        py::arg("blank"), py::arg("inner"), py::arg("space"), py::arg("foreign"), py::arg("leave_out"),
        py::arg("left_token"), py::arg("beam"));
}
