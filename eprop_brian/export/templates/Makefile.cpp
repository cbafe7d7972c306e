# Builds ./train: the network, one file, and the program around it.
CXXFLAGS ?= -O3 -march=native

# As eprop_brian compiles a network, for the same results.
network_flags = -std=c++11 -w -ffast-math -fno-finite-math-only
# Random numbers must come out the same everywhere.
driver_flags = -std=c++17 -Wall -O2 -ffp-contract=off

sources := src/main.cpp $(wildcard src/driver/*.cpp)
headers := src/program.cpp $(wildcard src/*.h src/common/*.h src/driver/*.h)
objects := $(sources:src/%.cpp=build/%.o)

train: $(objects)
	$(CXX) $(CXXFLAGS) $(LDFLAGS) $(objects) -o $@

build/main.o: flags = $(network_flags)
build/driver/%.o: flags = $(driver_flags)

# Other settings than those of the build before build anew.
export settings := $(CXX) $(CXXFLAGS) $(LDFLAGS)
build/settings: FORCE
	@mkdir -p $(@D)
	@[ -f $@ ] && IFS= read -r before < $@ && [ "$$before" = "$$settings" ] || \
		printf '%s\n' "$$settings" > $@

build/%.o: src/%.cpp $(headers) Makefile build/settings
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) $(flags) -Isrc -c $< -o $@

clean:
	rm -rf build train

.PHONY: FORCE clean
