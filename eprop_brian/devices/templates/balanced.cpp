{# A balanced network: the frame of a call, around the step of eprop_brian/balanced/step.py. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'program.cpp' %}
{% block headers %}
#include "fire.h"
#include "noise.h"
{% endblock %}
{% block maincode %}
{% set print = printer(scalar_code, vector_code, memory) %}
// No iteration of an inner loop needs what another wrote, which the compiler cannot see.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
const size_t _vectorisation_idx = -1;
const int _n_steps = {{ ptr(frame.control.n_steps) }}[0];
const int _record_every = {{ ptr(frame.control.record_every) }}[0];
const bool _learning = {{ ptr(frame.control.learning) }}[0] > 0;
const bool _one_spike = {{ ptr(frame.control.one_spike) }}[0] > 0;
const bool _noisy = {{ ptr(frame.control.sigma) }}[0] != 0;
const unsigned long long _seed = {{ ptr(frame.control.seed) }}[0];
int _clock = {{ ptr(frame.control.clock) }}[0], _n_spikes = 0, _n_records = 0, _step = 0;
{{ print.steady() }}
// There is room for the spikes of a step, or the call ends: so many are no result.
for (; _step < _n_steps && _n_spikes + {{ frame.n }} <= {{ frame.n_spikes }}; _step++, _clock++)
{
{{ print.phase('step') }}
}
{{ ptr(frame.control.clock) }}[0] = _clock;
{{ ptr(frame.control.n_spikes) }}[0] = _n_spikes;
{{ ptr(frame.control.n_records) }}[0] = _n_records;
{{ ptr(frame.control.step) }}[0] = _step;
_over = true;
#undef INDEPENDENT
{% endblock %}
