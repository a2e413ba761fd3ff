// What LeakSanitizer is not to report: libsndfile 1.2 leaves a few kilobytes behind when the header
// of a sound is damaged. Included once in a program.
#pragma once

extern "C" const char* __lsan_default_suppressions() {
  return "leak:libsndfile\nleak:libvorbis\nleak:libogg\nleak:libopus\nleak:libFLAC\nleak:libmpg123";
}
