#include "agentproc/angle_search.hpp"

#include <dlfcn.h>
#include <nlopt.h>

#include <algorithm>
#include <string>
#include <vector>

namespace micro_swarm {

namespace {

constexpr const char* library_name = "libnlopt.so.0";

/// The functions of the library that are used, by their own names.
struct Nlopt {
  decltype(&::nlopt_create) create = nullptr;
  decltype(&::nlopt_destroy) destroy = nullptr;
  decltype(&::nlopt_set_max_objective) set_max_objective = nullptr;
  decltype(&::nlopt_set_lower_bounds1) set_lower_bounds1 = nullptr;
  decltype(&::nlopt_set_upper_bounds) set_upper_bounds = nullptr;
  decltype(&::nlopt_set_initial_step1) set_initial_step1 = nullptr;
  decltype(&::nlopt_set_xtol_abs1) set_xtol_abs1 = nullptr;
  decltype(&::nlopt_set_maxeval) set_maxeval = nullptr;
  decltype(&::nlopt_optimize) optimize = nullptr;
  decltype(&::nlopt_force_stop) force_stop = nullptr;
};

/// Error: the text of what is missing. The library stays open for the life of the process.
Result<Nlopt> open_library() {
  const auto missing = [](const std::string& what) {
    return Error{ErrorCode::system,
                 "NLopt cannot be opened: " + what + "; install the package libnlopt0", 0};
  };
  void* library = ::dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    return missing(why != nullptr ? why : library_name);
  }
  std::string lacking;
  const auto find = [&](auto& function, const char* name) {
    // POSIX wants this conversion to work.
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr) lacking = name;
  };
  Nlopt nlopt;
  find(nlopt.create, "nlopt_create");
  find(nlopt.destroy, "nlopt_destroy");
  find(nlopt.set_max_objective, "nlopt_set_max_objective");
  find(nlopt.set_lower_bounds1, "nlopt_set_lower_bounds1");
  find(nlopt.set_upper_bounds, "nlopt_set_upper_bounds");
  find(nlopt.set_initial_step1, "nlopt_set_initial_step1");
  find(nlopt.set_xtol_abs1, "nlopt_set_xtol_abs1");
  find(nlopt.set_maxeval, "nlopt_set_maxeval");
  find(nlopt.optimize, "nlopt_optimize");
  find(nlopt.force_stop, "nlopt_force_stop");
  if (lacking.empty()) return nlopt;
  ::dlclose(library);
  return missing(std::string(library_name) + " lacks " + lacking);
}

class NloptSearch final : public quantum::AngleSearch {
 public:
  explicit NloptSearch(Result<Nlopt> nlopt) : nlopt_(std::move(nlopt)) {}

  Result<void> maximise(const Function& function, std::span<const double> start,
                        std::span<const double> upper, std::uint64_t evaluations) override {
    if (!nlopt_) return nlopt_.error();
    const auto count = static_cast<unsigned>(start.size());
    const std::unique_ptr<nlopt_opt_s, decltype(&::nlopt_destroy)> search(
        nlopt_->create(NLOPT_LN_BOBYQA, count), nlopt_->destroy);
    if (search == nullptr) return Error{ErrorCode::system, "NLopt: no memory", 0};
    Call call{&*nlopt_, &function, search.get()};
    constexpr double step = 0.3, tolerance = 1e-7;  // radians
    nlopt_->set_max_objective(search.get(), evaluate, &call);
    nlopt_->set_lower_bounds1(search.get(), 0);
    nlopt_->set_upper_bounds(search.get(), upper.data());
    nlopt_->set_initial_step1(search.get(), step);
    nlopt_->set_xtol_abs1(search.get(), tolerance);
    nlopt_->set_maxeval(search.get(), static_cast<int>(evaluations));
    std::vector<double> point(start.begin(), start.end());
    double value = 0;
    const nlopt_result ended = nlopt_->optimize(search.get(), point.data(), &value);
    // The function keeps the best it has seen: where rounding stops the search, it is done.
    if (ended > 0 || ended == NLOPT_ROUNDOFF_LIMITED || ended == NLOPT_FORCED_STOP) return {};
    return Error{ErrorCode::system, "NLopt ends with " + std::to_string(ended), 0};
  }

 private:
  struct Call {
    const Nlopt* nlopt;
    const Function* function;
    nlopt_opt search;
  };
  /// Called from C: what it throws ends the process.
  static double evaluate(unsigned count, const double* angles, double*, void* data) noexcept {
    const auto* call = static_cast<const Call*>(data);
    const auto value = (*call->function)(std::span(angles, count));
    if (value) return *value;
    call->nlopt->force_stop(call->search);
    return 0;
  }

  Result<Nlopt> nlopt_;
};

}  // namespace

std::unique_ptr<quantum::AngleSearch> open_angle_search() {
  return std::make_unique<NloptSearch>(open_library());
}

}  // namespace micro_swarm
