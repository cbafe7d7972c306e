{# A balanced network: the template owns the loops, Brian2 generated what is inside.
   Blocks and their order are described in eprop_brian/balanced/build.py. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'program.cpp' %}
{% block maincode %}
{# Run a block for _neuron from 0 to `n`; `cells` are indices into other arrays. #}
{% macro each(block, n, cells={}) %}
{
    {{ scalar_code[block]|join('\n') }}
    INDEPENDENT
    for (int _neuron = 0; _neuron < {{ n }}; _neuron++)
    {
        {% for name, first in cells.items() %}
        const int {{ name }} = {{ first }} + _neuron;
        {% endfor %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# The same for one element. #}
{% macro one(block, index, value) %}
{
    {{ scalar_code[block]|join('\n') }}
    const int {{ index }} = {{ value }};
    {{ vector_code[block]|join('\n') }}
}
{% endmacro %}
{# Run a block for row _pre of a matrix with `n` columns. #}
{% macro row(block, n, before=none) %}
{
    {{ scalar_code[block]|join('\n') }}
    INDEPENDENT
    for (int _post = 0; _post < {{ n }}; _post++)
    {
        const int _synapse = _pre*{{ n }} + _post;
        {% if before is not none %}
        const int _arriving = {{ before }} + _post;
        {% endif %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Run a block for all rows, several at a time: what belongs to the columns stays in registers. #}
{% macro rows(block, n_pre, n) %}
// A parameter, unlike a pointer in a block, is believed to share its array with no other.
[&]({% for name in plan.arrays[block] %}{{ plan.real }}* __restrict {{ ptr(name) }}{{ ', ' if not loop.last }}{% endfor %})
{
    {{ scalar_code[block]|join('\n') }}
    {% if n_pre >= 4 %}
    for (int _first = 0; _first < {{ n_pre - n_pre % 4 }}; _first += 4)
    {{ several(block, '_first', 4, n) }}
    {% endif %}
    {% if n_pre % 4 %}
    {{ several(block, n_pre - n_pre % 4, n_pre % 4, n) }}
    {% endif %}
}({% for name in plan.arrays[block] %}{{ ptr(name) }}{{ ', ' if not loop.last }}{% endfor %});
{% endmacro %}
{% macro several(block, first, count, n) %}
{
    INDEPENDENT
    for (int _post = 0; _post < {{ n }}; _post++)
    {
        {% for k in range(count) %}
        {
            const int _pre = {{ first }} + {{ k }};
            const int _synapse = _pre*{{ n }} + _post;
            {{ vector_code[block]|join('\n') }}
        }
        {% endfor %}
    }
}
{% endmacro %}
// No iteration of an inner loop needs what another wrote, which the compiler cannot see.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
const size_t _vectorisation_idx = -1;
const int _n_steps = {{ ptr(plan.control.n_steps) }}[0];
const int _record_every = {{ ptr(plan.control.record_every) }}[0];
const bool _learning = {{ ptr(plan.control.learning) }}[0] > 0;
const bool _one_spike = {{ ptr(plan.control.one_spike) }}[0] > 0;
const bool _noisy = {{ ptr(plan.control.sigma) }}[0] != 0;
const unsigned long long _seed = {{ ptr(plan.control.seed) }}[0];
// A number is a hash of its place: the same on every device, in whatever order they are made.
const auto _mixed = [](unsigned long long _z) -> unsigned long long
{
    _z += 0x9E3779B97F4A7C15ULL;
    _z = (_z ^ (_z >> 30))*0xBF58476D1CE4E5B9ULL;
    _z = (_z ^ (_z >> 27))*0x94D049BB133111EBULL;
    return _z ^ (_z >> 31);
};
int _fired[{{ plan.n }}];
int _n_spikes = 0, _n_records = 0, _step = 0;
// There is room for the spikes of a step, or the call ends: so many are no result.
for (; _step < _n_steps && _n_spikes + {{ plan.n }} <= {{ plan.n_spikes }}; _step++)
{
    const int _clock = {{ ptr(plan.control.clock) }}[0];
    {{ each(plan.receive, plan.k, {'_sample': '_step*%d' % plan.k}) }}
    {{ each(plan.schedule, 1) }}
    {{ each(plan.error, plan.k) }}
    if (_step % _record_every == 0)
    {
        {{ each(plan.record, plan.k, {'_record': '_n_records*%d' % plan.k}) }}
        {{ each(plan.record_v, plan.n, {'_record': '_n_records*%d' % plan.n}) }}
        _n_records++;
    }
    {{ each(plan.zero, plan.n) }}
    {{ rows(plan.project, plan.k, plan.n) }}
    {% if plan.psi is defined %}
    {{ each(plan.psi, plan.n_basis) }}
    {% endif %}
    {% if plan.learn_slow is defined %}
    if (_learning)
    {{ rows(plan.learn_slow, plan.n_basis, plan.n) }}
    else
    {% endif %}
    {{ rows(plan.slow, plan.n_basis, plan.n) }}
    if (_noisy)
    {
        const unsigned long long _place = _mixed(_seed + ((unsigned long long)_clock << 32));
        for (int _i = 0; _i < {{ plan.n }}; _i++)
        {
            const unsigned long long _z = _mixed(_place + _i);
            const double _radius = std::sqrt(-2*std::log(((_z >> 32) + 0.5)/4294967296.0));
            {{ ptr(plan.noise) }}[_i] = _radius*std::cos(2*M_PI*((_z & 0xFFFFFFFFULL)/4294967296.0));
        }
    }
    {{ each(plan.membrane, plan.n) }}
    {% if plan.rows %}
    {{ each(plan.arrive, plan.n, {'_arriving': '_clock %% %d*%d' % (plan.rows, plan.n)}) }}
    {% endif %}
    {% for k in range(plan.k) %}
    const int _output_{{ k }} = {{ k }};
    {% endfor %}
    {
        {{ scalar_code[plan.teacher]|join('\n') }}
        {{ vector_code[plan.teacher]|join('\n') }}
    }
    {{ each(plan.decay, plan.n) }}
    {{ each(plan.decay_estimate, plan.k) }}
    {% if plan.decay_basis is defined %}
    {{ each(plan.decay_basis, plan.n_basis) }}
    {% endif %}
    {{ each(plan.candidate, plan.n) }}
    // what fires: the one that is furthest above threshold, or all that are
    int _n_fired = 0;
    if (_one_spike)
    {
        {{ plan.real }} _most = 0;
        for (int _i = 0; _i < {{ plan.n }}; _i++)
            if ({{ ptr(plan.candidates) }}[_i] > _most)
            {
                _most = {{ ptr(plan.candidates) }}[_i];
                _fired[0] = _i;
                _n_fired = 1;
            }
    }
    else
        for (int _i = 0; _i < {{ plan.n }}; _i++)
            if ({{ ptr(plan.candidates) }}[_i] > 0) _fired[_n_fired++] = _i;
    {% if plan.learn_fast is defined %}
    if (_learning)
        for (int _s = 0; _s < _n_fired; _s++)
        {
            const int _pre = _fired[_s];
            {{ row(plan.learn_fast, plan.n) }}
        }
    {% endif %}
    for (int _s = 0; _s < _n_fired; _s++)
    {
        const int _pre = _fired[_s];
        {{ ptr(plan.spikes.neuron) }}[_n_spikes] = _pre;
        {{ ptr(plan.spikes.step) }}[_n_spikes++] = _step;
        {% if plan.rows %}
        {
            // its own reset at once, the others after the delay
            const int _before = (_clock + {{ plan.rows - 1 }}) % {{ plan.rows }}*{{ plan.n }};
            const {{ plan.real }} _own = {{ ptr(plan.arriving) }}[_before + _pre];
            {{ row(plan.send, plan.n, '_before') }}
            {{ ptr(plan.arriving) }}[_before + _pre] = _own;
            const int _post = _pre, _synapse = _pre*{{ plan.n }} + _pre;
            {{ scalar_code[plan.spike]|join('\n') }}
            {{ vector_code[plan.spike]|join('\n') }}
        }
        {% else %}
        {{ row(plan.spike, plan.n) }}
        {% endif %}
        {{ one(plan.fire, '_neuron', '_pre') }}
        {
            {{ scalar_code[plan.jump]|join('\n') }}
            for (int _neuron = 0; _neuron < {{ plan.k }}; _neuron++)
            {
                const int _synapse = _neuron*{{ plan.n }} + _pre;
                {{ vector_code[plan.jump]|join('\n') }}
            }
        }
        {% if plan.excite is defined %}
        {{ row(plan.excite, plan.n_basis) }}
        {% endif %}
    }
    {{ ptr(plan.control.clock) }}[0] = _clock + 1;
}
{{ ptr(plan.control.n_spikes) }}[0] = _n_spikes;
{{ ptr(plan.control.n_records) }}[0] = _n_records;
{{ ptr(plan.control.step) }}[0] = _step;
_over = true;
#undef INDEPENDENT
{% endblock %}
