{# What a compiled program is made of besides native/: the arrays, and what one call does to them. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>
%HEADERS%
#include "arrays.h"
{% block headers %}{% endblock %}

namespace
{
// Those outside of namespace std take doubles alone: with floats they would convert forth and back.
using std::acos; using std::asin; using std::atan; using std::ceil; using std::cos; using std::cosh;
using std::exp; using std::expm1; using std::floor; using std::log; using std::log10; using std::log1p;
using std::pow; using std::sin; using std::sinh; using std::sqrt; using std::tan; using std::tanh;
{{ support_code_lines|join('\n') }}
{{ hashdefine_lines|join('\n') }}
%CONSTANTS%

{{ memory.allocations() }}

// What runs again and again until a call is over. Compiled once: it is large.
__attribute__((noinline)) bool step()
{
    {{ pointers_lines|join('\n') }}
    bool _over = false;
    {% block maincode %}{% endblock %}
    return _over;
}
}

namespace eprop_brian
{
const Entry entries[] = {
    {{ memory.entries() }}};
const std::size_t n_entries = sizeof(entries)/sizeof(*entries);

bool step() { return ::step(); }
}
