// A compiled network: set its arrays, run trials, get its arrays.
//
// There is one network in a program. Keys are "group.variable", as in eprop_brian's Program; sizes
// are in bytes. On a GPU the same functions copy to its memory and back.
#ifndef EPROP_BRIAN_PROGRAM_H
#define EPROP_BRIAN_PROGRAM_H

#include <cstdint>
#include <string>

namespace eprop_brian
{
bool has_array(const std::string& key);

// Size of an array. Here and below, an unknown key ends the program with a message.
std::uint64_t array_bytes(const std::string& key);

// Set an array from as many bytes as it has.
void set_array(const std::string& key, const void* values);

// Run the first control.n_trials trials, or, with 0 of them, make an update.
void run_network();

// Copy an array to `values`, where all its bytes must have room.
void get_array(const std::string& key, void* values);
}
#endif
