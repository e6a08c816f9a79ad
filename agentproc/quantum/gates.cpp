#include "agentproc/quantum/gates.hpp"

#include <cmath>
#include <numbers>

namespace micro_swarm::quantum {

namespace {

constexpr GateName names[] = {
    {"id", Gate::id, 0, 0, 1},      {"x", Gate::x, 0, 0, 1},       {"y", Gate::y, 0, 0, 1},
    {"z", Gate::z, 0, 0, 1},        {"h", Gate::h, 0, 0, 1},       {"s", Gate::s, 0, 0, 1},
    {"sdg", Gate::sdg, 0, 0, 1},    {"t", Gate::t, 0, 0, 1},       {"tdg", Gate::tdg, 0, 0, 1},
    {"sx", Gate::sx, 0, 0, 1},      {"sxdg", Gate::sxdg, 0, 0, 1}, {"rx", Gate::rx, 0, 1, 1},
    {"ry", Gate::ry, 0, 1, 1},      {"rz", Gate::rz, 0, 1, 1},     {"p", Gate::p, 0, 1, 1},
    {"u1", Gate::p, 0, 1, 1},       {"u2", Gate::u2, 0, 2, 1},     {"u3", Gate::u3, 0, 3, 1},
    {"u", Gate::u3, 0, 3, 1},       {"cx", Gate::x, 1, 0, 2},      {"cy", Gate::y, 1, 0, 2},
    {"cz", Gate::z, 1, 0, 2},       {"ch", Gate::h, 1, 0, 2},      {"crx", Gate::rx, 1, 1, 2},
    {"cry", Gate::ry, 1, 1, 2},     {"crz", Gate::rz, 1, 1, 2},    {"cp", Gate::p, 1, 1, 2},
    {"cu1", Gate::p, 1, 1, 2},      {"cu3", Gate::u3, 1, 3, 2},    {"swap", Gate::swap, 0, 0, 2},
    {"cswap", Gate::swap, 1, 0, 3}, {"ccx", Gate::x, 2, 0, 3}};

Amplitude turn(double angle) { return {std::cos(angle), std::sin(angle)}; }

Matrix2 u3_matrix(double theta, double phi, double lambda) {
  const double c = std::cos(theta / 2), s = std::sin(theta / 2);
  return {c, -turn(lambda) * s, turn(phi) * s, turn(phi + lambda) * c};
}

}  // namespace

std::span<const GateName> gate_names() { return names; }

const GateName* find_gate(std::string_view name) {
  for (const GateName& known : names)
    if (known.name == name) return &known;
  return nullptr;
}

Matrix2 matrix_of(Gate gate, const std::array<double, gate_angles_max>& angles) {
  using std::numbers::pi;
  constexpr Amplitude i{0, 1};
  constexpr double r = 1 / std::numbers::sqrt2;
  const double a = angles[0], c = std::cos(a / 2), s = std::sin(a / 2);
  switch (gate) {
    case Gate::id:
    case Gate::swap: return {};
    case Gate::x: return {0, 1, 1, 0};
    case Gate::y: return {0, -i, i, 0};
    case Gate::z: return {1, 0, 0, -1};
    case Gate::h: return {r, r, r, -r};
    case Gate::s: return {1, 0, 0, i};
    case Gate::sdg: return {1, 0, 0, -i};
    case Gate::t: return {1, 0, 0, {r, r}};
    case Gate::tdg: return {1, 0, 0, {r, -r}};
    case Gate::sx: return {{.5, .5}, {.5, -.5}, {.5, -.5}, {.5, .5}};
    case Gate::sxdg: return {{.5, -.5}, {.5, .5}, {.5, .5}, {.5, -.5}};
    case Gate::rx: return {c, {0, -s}, {0, -s}, c};
    case Gate::ry: return {c, -s, s, c};
    case Gate::rz: return {{c, -s}, 0, 0, {c, s}};
    case Gate::p: return {1, 0, 0, turn(a)};
    case Gate::u2: return u3_matrix(pi / 2, angles[0], angles[1]);
    case Gate::u3: return u3_matrix(angles[0], angles[1], angles[2]);
  }
  return {};
}

}  // namespace micro_swarm::quantum
