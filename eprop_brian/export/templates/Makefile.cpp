# Builds ./train: the network, which Brian2 generated, and the program around it.
CXXFLAGS ?= -O3 -march=native

# As eprop_brian compiles a network, for the same results.
network_flags = -std=c++11 -w -ffast-math -fno-finite-math-only
# Random numbers must come out the same everywhere.
driver_flags = -std=c++17 -Wall -O2 -ffp-contract=off
# What runs once.
plain_flags = -std=c++11 -w -O0

sources := $(wildcard src/*.cpp src/code_objects/*.cpp src/driver/*.cpp)
headers := $(wildcard src/*.h src/*/*.h)
objects := $(sources:src/%.cpp=build/%.o)

train: $(objects)
	$(CXX) $(CXXFLAGS) $(LDFLAGS) $(objects) -o $@

build/code_objects/%.o: flags = $(network_flags)
build/driver/%.o: flags = $(driver_flags)
build/%.o: flags = $(plain_flags)

build/%.o: src/%.cpp $(headers) Makefile
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) $(flags) -Isrc -c $< -o $@

clean:
	rm -rf build train

.PHONY: clean
