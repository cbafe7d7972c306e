# Builds ./train: the network, build/libnetwork.a, and the program around it.
CXXFLAGS ?= -O3 -march=native

# As eprop_brian compiles a network, for the same results.
network_flags = -std=c++11 -w -ffast-math -fno-finite-math-only
# Random numbers must come out the same everywhere.
driver_flags = -std=c++17 -Wall -Wextra -O2 -ffp-contract=off

headers := $(wildcard src/*.h src/common/*.h src/driver/*.h)
network := build/program.o build/access.o build/threads.o build/driver/network_description.o

train: build/driver/train.o build/libnetwork.a
	$(CXX) $(CXXFLAGS) -pthread $(LDFLAGS) $^ -o $@

# What a program of your own is linked with: see README.md.
build/libnetwork.a: $(network)
	$(AR) rcs $@ $^

build/program.o: flags = $(network_flags)
build/access.o build/threads.o build/driver/%.o: flags = $(driver_flags)

# Other settings than those of the build before build anew.
export settings := $(CXX) $(CXXFLAGS) $(LDFLAGS)
build/settings: FORCE
	@mkdir -p $(@D)
	@[ -f $@ ] && IFS= read -r before < $@ && [ "$$before" = "$$settings" ] || \
		printf '%s\n' "$$settings" > $@

build/%.o: src/%.cpp $(headers) Makefile build/settings
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) $(flags) -c $< -o $@

clean:
	rm -rf build train

.PHONY: FORCE clean
