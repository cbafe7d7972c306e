{# Trials of a network: the frame of a call, around the schedule of eprop_brian/network/step. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'program.cpp' %}
{% block headers %}#include "threads.h"
#include "tiles.h"{% if frame.rules.of_labels %}

#include "ctc.h"{% endif %}{% if frame.rules.noise %}

#include "draws.h"{% endif %}{% if frame.rules.steps_of_trial and not frame.rules.lengths %}

#include "fire.h"{% endif %}{% endblock %}
{% block maincode %}
{% set print = printer(scalar_code, vector_code) %}
{% set rules = frame.rules %}
// No iteration of an inner loop needs what another wrote, which the compiler cannot see.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
// Compilers exchange or unroll loops around this no more, so sums are made in the order of the text.
#define IN_ORDER __asm__ __volatile__("")
const size_t _vectorisation_idx = -1;
const int _trial = {{ ptr(frame.control.trial) }}[0];
const int _n_trials = {{ ptr(frame.control.n_trials) }}[0];
{% if rules.lengths %}
const {{ print.integer }} _T = _trial < _n_trials ? {{ ptr(rules.lengths) }}[_trial] : {{ rules.n_steps }};
{% else %}
{% if not rules.steps_of_trial %}const {% endif %}{{ print.integer }} _T = {{ rules.n_steps }};
{% endif %}
{% if rules.learning %}
const int _batch_size = {{ ptr(frame.control.batch_size) }}[0];
const bool _learning = {{ ptr(frame.control.learning) }}[0] > 0;
const bool _updating = {{ ptr(frame.control.updating) }}[0] > 0;
{% endif %}

{% if rules.stages %}
static unsigned long long _ticks[{{ rules.stages|length }}], _before, _ticks_at_start;
static std::chrono::steady_clock::time_point _started;
if (_trial == 0)
{
    eprop_brian::clear(_ticks, {{ rules.stages|length }});
    _started = std::chrono::steady_clock::now();
    _ticks_at_start = _before = eprop_brian::ticks();
}
{% endif %}
//// start of a call
{% if rules.external %}
bool _waits = false;
{% endif %}
if (_trial == 0{% if rules.external %} && {{ ptr(frame.control.step) }}[0] == 0{% endif %})
{
    {{ print.phase('begin_call', 1) }}
}
if (_trial < _n_trials)
{
    //// start of a trial
    {{ print.phase('refresh', 1) }}
    {{ print.phase('places', 1) }}
    {{ print.phase('begin', 1) }}
    {% if rules.external %}
    // An episode goes on where an action was chosen in the call before.
    {{ print.phase('resume', 1) }}
    {% endif %}
    {{ print.lap('rest', 1) }}
    {{ print.steady(1) }}
    {% if rules.in_segments %}
    // The backward pass runs steps again: one function for both, so that both compute the same.
    const auto _run_step = [&](const {{ print.integer }} _step, const int _again)
        __attribute__((noinline))
    {
        const {{ print.integer }} _now = _before_first + _step;
        {{ print.phase('step', 2) }}
    };
    for ({{ print.integer }} _step = 0; _step < _T; _step++)
        _run_step(_step, 0);
    {% else %}
    for ({{ print.integer }} _step = {% if rules.external %}_first_step{% else %}0{% endif %}; _step < _T; _step++)
    {
        const {{ print.integer }} _now = _before_first + _step;
        {{ print.phase('step', 2) }}
        {% if rules.external %}
        if ((_step + 1) % {{ rules.external }} == 0)
        {
            {{ ptr(frame.control.step) }}[0] = _step + 1;
            _waits = true;
            break;
        }
        {% endif %}
    }
    {% endif %}

    //// end of a trial
    {% if rules.external %}
    if (_waits) return true;
    {% endif %}
    {{ print.phase('end', 1) }}
    {% if rules.by_trial %}
    if (_learning)
    {
        {{ print.phase('learn', 2) }}
    }
    {% endif %}
}

{% if rules.learning %}
if (_updating && _n_trials == 0)
{
    {{ print.phase('pending', 1) }}
}
{% endif %}
{% if rules.by_trial %}
//// end of a share of trials, of a batch: sums are made share by share, so that workers get the same
if (_updating && (_n_trials == 0 || (_trial + 1) % _batch_size == 0))
{
    {{ print.phase('update', 1) }}
}
else if (_updating && (_trial % _batch_size + 1) % {{ frame.share }} == 0)
{
    {{ print.phase('fold', 1) }}
}
{% endif %}
{{ print.lap('rest') }}
{% if rules.stages %}
if (_trial + 1 >= _n_trials)
{
    const std::chrono::duration<double> _elapsed = std::chrono::steady_clock::now() - _started;
    for (int _i = 0; _i < {{ rules.stages|length }}; _i++)
        {{ ptr(frame.seconds) }}[_i] = _elapsed.count()*_ticks[_i]/(_before - _ticks_at_start);
}
{% endif %}
{{ ptr(frame.control.trial) }}[0] = _trial + 1;
{% if rules.external %}
_over = true;
{% else %}
if (_trial + 1 >= _n_trials)
    _over = true;
{% endif %}
#undef INDEPENDENT
#undef IN_ORDER
{% endblock %}
