// What the program does between calls of the network: another file says it.
#ifndef EPROP_BRIAN_CALLS_H
#define EPROP_BRIAN_CALLS_H

#include <string>
#include <vector>

#include "arrays.h"

namespace eprop_brian
{
// Prepares the next run; returns false if there is none.
bool next_call(Arrays& arrays, const std::vector<std::string>& arguments);
}
#endif
