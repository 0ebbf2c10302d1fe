// The Python face of the native code: checks every argument, releases the GIL, and turns every
// C++ exception into a Python one.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <pybind11/numpy.h>

#include "language_model.h"
#include "lexicon.h"
#include "search.h"

namespace py = pybind11;
using namespace ds2;

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
  PyLexicon(const py::list& words, const std::vector<std::string>& tokens,
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
    lexicon = std::make_shared<const Lexicon>(views, tokens,
                                              language_model ? language_model->model : nullptr);
  }
  std::shared_ptr<const Lexicon> lexicon;
};

struct PySearch {
  std::shared_ptr<const Search> search;
};

py::tuple to_python(const Word& word) {
  return py::make_tuple(word.text, word.start_frame, word.end_frame, word.confidence);
}

py::list to_python(const std::vector<Word>& words) {
  py::list list;
  for (const Word& word : words) list.append(to_python(word));
  return list;
}

// A SearchState that refuses a second thread while one is inside.
class PyState {
 public:
  explicit PyState(std::shared_ptr<const Search> search) : state_(std::move(search)) {}

  void advance(const py::array& log_probs) {
    const Guard guard(this);
    const int64_t tokens = state_.search().token_count();
    check_array(log_probs, tokens);
    const auto* data = static_cast<const float*>(log_probs.data());
    const int64_t frames = log_probs.shape(0);
    py::gil_scoped_release nogil;
    check_frames(data, frames, tokens);
    state_.advance(data, frames);
  }

  py::list commit() {
    const Guard guard(this);
    return to_python(state_.commit());
  }

  py::list words() {
    const Guard guard(this);
    return to_python(state_.words());
  }

  py::list finish(int n) {
    const Guard guard(this);
    if (n < 1) throw std::invalid_argument("n must be 1 or more, got " + std::to_string(n));
    std::vector<Hypothesis> hypotheses;
    {
      py::gil_scoped_release nogil;
      hypotheses = state_.finish(n);
    }
    py::list list;
    for (const Hypothesis& one : hypotheses) {
      list.append(py::make_tuple(one.score, to_python(one.words)));
    }
    return list;
  }

  int64_t frames() const { return state_.frames(); }
  size_t nodes() const { return state_.nodes(); }
  size_t bytes() const { return state_.bytes(); }

 private:
  class Guard {
   public:
    explicit Guard(PyState* owner) : owner_(owner) {
      if (owner_->busy_.exchange(true)) {
        throw std::runtime_error("a SearchState is used by two threads at once; make one each");
      }
    }
    ~Guard() { owner_->busy_ = false; }
    Guard(const Guard&) = delete;

   private:
    PyState* owner_;
  };

  static void check_array(const py::array& array, int64_t tokens) {
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
  }

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
  py::class_<PyLexicon>(m, "Lexicon")
      .def(py::init<const py::list&, const std::vector<std::string>&, const PyLanguageModel*>(),
           py::arg("words"), py::arg("tokens"), py::arg("language_model") = nullptr)
      .def_property_readonly("size", [](const PyLexicon& self) { return self.lexicon->size(); })
      .def("__contains__", [](const PyLexicon& self, const std::string& word) {
        return self.lexicon->contains(word);
      });
}

void bind_search(py::module_& m) {
  py::class_<SearchOptions>(m, "SearchOptions")
      .def(py::init([](int beam, float alpha, float beta, float cutoff, int top, float threshold,
                       int max_ambiguity) {
             return SearchOptions{beam, alpha, beta, cutoff, top, threshold, max_ambiguity};
           }),
           py::kw_only(), py::arg("beam"), py::arg("alpha"), py::arg("beta"), py::arg("cutoff"),
           py::arg("top"), py::arg("threshold"), py::arg("max_ambiguity"))
      .def_readonly("beam", &SearchOptions::beam)
      .def_readonly("alpha", &SearchOptions::alpha)
      .def_readonly("beta", &SearchOptions::beta)
      .def_readonly("cutoff", &SearchOptions::cutoff)
      .def_readonly("top", &SearchOptions::top)
      .def_readonly("threshold", &SearchOptions::threshold)
      .def_readonly("max_ambiguity", &SearchOptions::max_ambiguity);
  py::class_<PyState>(m, "SearchState")
      .def("advance", &PyState::advance, py::arg("log_probs"))
      .def("commit", &PyState::commit)
      .def("words", &PyState::words)
      .def("finish", &PyState::finish, py::arg("n") = 1)
      .def_property_readonly("frames", &PyState::frames)
      .def_property_readonly("nodes", &PyState::nodes)
      .def_property_readonly("bytes", &PyState::bytes);
  py::class_<PySearch>(m, "Search")
      .def(py::init([](std::vector<std::string> tokens, int blank, std::optional<int> space,
                       const PyLexicon* lexicon, const PyLanguageModel* language_model,
                       const SearchOptions& options) {
             if (space && *space < 0) {
               throw std::invalid_argument("space must be a token index or None, got " +
                                           std::to_string(*space));
             }
             return PySearch{std::make_shared<const Search>(
                 std::move(tokens), blank, space.value_or(kNoIndex),
                 lexicon ? lexicon->lexicon : nullptr,
                 language_model ? language_model->model : nullptr, options)};
           }),
           py::arg("tokens"), py::arg("blank"), py::arg("space"), py::arg("lexicon"),
           py::arg("language_model"), py::arg("options"))
      .def("start", [](const PySearch& self) { return std::make_unique<PyState>(self.search); });
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "CTC prefix beam search with a lexicon and an n-gram language model.";
  bind_language(m);
  bind_search(m);
}
