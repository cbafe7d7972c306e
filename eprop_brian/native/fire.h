// The choice among candidates, on a processor; a GPU's is in device.h.
#pragma once

namespace eprop_brian
{
// The neurons that fire: the one of the largest candidate, or all above 0; returns how many.
template <typename T> int fire(const T* candidates, int n, bool one, int* fired)
{
    int n_fired = 0;
    T most = 0;
    for (int i = 0; i < n; i++)
        if (candidates[i] > most)
        {
            fired[n_fired] = i;
            if (one) most = candidates[i];
            else n_fired++;
        }
    return one ? most > 0 : n_fired;
}
}
