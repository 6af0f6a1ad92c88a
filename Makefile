# Everything here is Meson's work; this file only remembers the commands.
#
#   make                       release build in build/release
#   make test                  what a change must pass (installs what is missing, with sudo)
#   make soak [CASE=name]      the same programs with full counts
#   make quickstart [DIR=...] [SIZE=...]   build, then a mounted file system in DIR
#   make install [DESTDIR=...] [PREFIX=...], make uninstall, make clean

SHELL = /bin/sh
BUILD = build/release
AS = tools/as-user
PREFIX ?= /usr/local
DIR ?= /srv/claudefs

all: $(BUILD)/build.ninja
	@$(AS) ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@$(AS) meson setup $(BUILD) --prefix=$(PREFIX)

deps-build:
	@tools/deps build

test:
	@tools/deps build test
	@tools/run-tests

soak:
	@tools/deps build test
	@tools/run-tests --soak $(if $(CASE),--case '$(CASE)')

quickstart: deps-build
	@$(MAKE) --no-print-directory all
	@$(BUILD)/src/cfs quickstart '$(DIR)' $(if $(SIZE),--size '$(SIZE)')

# The log of what was installed is all that root writes in the clone; it is given back.
install: $(BUILD)/build.ninja
	@$(AS) meson configure $(BUILD) -Dprefix=$(PREFIX)
	@$(AS) ninja -C $(BUILD)
	@DESTDIR='$(DESTDIR)' meson install --no-rebuild -C $(BUILD)
	@chown --reference=Makefile $(BUILD)/meson-logs/install-log.txt

uninstall:
	@test -f $(BUILD)/meson-logs/install-log.txt || { echo "nothing was installed from here" >&2; exit 1; }
	@grep -v '^#' $(BUILD)/meson-logs/install-log.txt | sort -r | while IFS= read -r f; do \
		if [ -d "$$f" ] && [ ! -L "$$f" ]; then rmdir "$$f" 2>/dev/null || :; else rm -fv "$$f"; fi; \
	done

clean:
	@rm -rf build

.PHONY: all deps-build test soak quickstart install uninstall clean
