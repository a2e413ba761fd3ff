#include "apps/chat.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <iterator>
#include <utility>

#include "apps/answer.hpp"
#include "apps/attachments.hpp"
#include "apps/interrupt.hpp"
#include "apps/line_reader.hpp"

namespace kimberlite::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

class ChatLoop {
 public:
  ChatLoop(const Model& model, Session& session, Conversation conversation, std::vector<Part> media,
           ChatOptions options)
      : model_(&model),
        session_(&session),
        conversation_(std::move(conversation)),
        media_(std::move(media)),
        options_(std::move(options.generate)),
        budget_(options.budget),
        verbose_(options.verbose) {}

  int run();

 private:
  enum class Next { go_on, leave };

  std::optional<std::string> read_message();
  Next command(const std::string& line);
  void set(const std::string& words);
  void print_settings() const;
  void attach(const std::string& path, MediaKind kind);
  std::optional<Error> reply(const std::string& user);

  const Model* model_;  // Borrowed from the caller, like the next.
  Session* session_;
  Conversation conversation_;
  std::vector<Part> media_;  // for the next message
  GenerateOptions options_;
  uint32_t budget_;
  bool verbose_;
  LineReader reader_;
  std::string last_speeds_;
};

void print_help() {
  fmt::print(stderr,
             "/?, /help           this text\n"
             "/clear              forget the conversation\n"
             "/system TEXT        another system message; forgets the conversation\n"
             "/image FILE         a picture for the next message; dropping files on it does too\n"
             "/audio FILE         a sound for the next message\n"
             "/video FILE         a video for the next message\n"
             "/set                the settings; /set temperature 0.7 changes one\n"
             "/stats              speeds of the last answer\n"
             "/bye                leave, as Ctrl-D does\n"
             "\"\"\"                 begins and ends a message of several lines\n"
             "Ctrl-C              stops the answer\n");
}

/// The message, over several lines where it begins with three quotes. Ctrl-C does not leave by
/// accident: whoever meant to stop a reply that has just ended is still here.
std::optional<std::string> ChatLoop::read_message() {
  bool told = false;
  const InterruptScope scope([&told] {
    if (!std::exchange(told, true)) fmt::print(stderr, "\n(Ctrl-D or /bye leaves)\n");
  });
  auto line = reader_.read(">>> ");
  if (!line || !line->starts_with(kQuotes)) return line;
  std::string message = line->substr(kQuotes.size());
  while (!message.ends_with(kQuotes)) {
    const auto more = reader_.read("... ");
    if (!more) return message;
    message += "\n" + *more;
  }
  message.resize(message.size() - kQuotes.size());
  return message;
}

struct Setting {
  std::string_view name;
  double low;
  double high;
  double (*get)(const GenerateOptions&);
  void (*set)(GenerateOptions&, double);
};

template <auto Member>
constexpr Setting sampling(std::string_view name, double low, double high) {
  return {
      name, low, high,
      [](const GenerateOptions& options) { return static_cast<double>(options.sampling.*Member); },
      [](GenerateOptions& options, double value) {
        auto& member = options.sampling.*Member;
        member = static_cast<std::remove_reference_t<decltype(member)>>(value);
      }};
}

constexpr Setting kSettings[] = {
    sampling<&SamplingOptions::temperature>("temperature", 0, 1000),
    sampling<&SamplingOptions::top_k>("top_k", 0, 1e9),
    sampling<&SamplingOptions::top_p>("top_p", 0, 1),
    sampling<&SamplingOptions::min_p>("min_p", 0, 1),
    sampling<&SamplingOptions::repeat_penalty>("repeat_penalty", 0.01, 100),
    sampling<&SamplingOptions::presence_penalty>("presence_penalty", -100, 100),
    sampling<&SamplingOptions::frequency_penalty>("frequency_penalty", -100, 100),
    sampling<&SamplingOptions::seed>("seed", 0, 4294967295.0),
    {"predict", 0, 4294967295.0,
     [](const GenerateOptions& options) { return static_cast<double>(options.max_tokens); },
     [](GenerateOptions& options, double value) {
       options.max_tokens = static_cast<uint32_t>(value);
     }},
};

void ChatLoop::print_settings() const {
  for (const Setting& setting : kSettings) {
    fmt::print(stderr, "{:<18} {:.10g}\n", setting.name, setting.get(options_));
  }
}

void ChatLoop::set(const std::string& words) {
  const size_t space = words.find(' ');
  const std::string name = words.substr(0, space);
  const std::string text = space == std::string::npos ? "" : words.substr(space + 1);
  for (const Setting& setting : kSettings) {
    if (setting.name != name) continue;
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= setting.low && value <= setting.high)) {
      fmt::print(stderr, "{} is '{}', expected {} to {}\n", name, terminal_safe(text), setting.low,
                 setting.high);
      return;
    }
    setting.set(options_, value);
    return;
  }
  fmt::print(stderr, "no setting is called '{}'; /set lists them\n", terminal_safe(name));
}

/// A path as a shell would read it, or as it stands.
std::string unquoted(const std::string& path) {
  const DroppedPaths found = find_dropped_paths(path);
  return found.paths.empty() ? path : found.paths.front();
}

ChatLoop::Next ChatLoop::command(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  if (name == "/bye" || name == "/exit" || name == "/quit") return Next::leave;
  if (name == "/?" || name == "/help") {
    print_help();
  } else if (name == "/clear") {
    conversation_.clear();
  } else if (name == "/system") {
    conversation_.set_system(rest);
  } else if (name == "/image") {
    attach(unquoted(rest), MediaKind::picture);
  } else if (name == "/audio") {
    attach(unquoted(rest), MediaKind::sound);
  } else if (name == "/video") {
    attach(unquoted(rest), MediaKind::video);
  } else if (name == "/set") {
    rest.empty() ? print_settings() : set(rest);
  } else if (name == "/stats") {
    fmt::print(stderr, "{}\n", last_speeds_.empty() ? "no answer yet" : last_speeds_);
  } else {
    fmt::print(stderr, "no command is called '{}'; /? lists them\n", terminal_safe(name));
  }
  return Next::go_on;
}

/// What is no file of that kind is named, and the chat goes on.
void ChatLoop::attach(const std::string& path, MediaKind kind) {
  auto parts = read_file(*model_, path, kind, budget_);
  if (!parts.ok()) {
    fmt::print(stderr, "{}\n", terminal_safe(parts.error().message));
    return;
  }
  std::move(parts->begin(), parts->end(), std::back_inserter(media_));
  fmt::print(stderr, "{} goes with the next message\n", terminal_safe(path));
}

/// An error that ends the loop, or nothing.
std::optional<Error> ChatLoop::reply(const std::string& user) {
  const auto prompt = conversation_.add_user(user, std::exchange(media_, {}));
  if (!prompt.ok()) {
    media_ = conversation_.drop_user();
    if (prompt.error().code != ErrorCode::unsupported) return prompt.error();
    fmt::print(stderr, "{}\n", terminal_safe(prompt.error().message));
    return std::nullopt;
  }
  const auto given = answer(*session_, *prompt, options_, false);
  if (!given.ok()) {
    media_ = conversation_.drop_user();
    const ErrorCode code = given.error().code;
    if (code != ErrorCode::cancelled && code != ErrorCode::context_full) return given.error();
    fmt::print(stderr, "{}\n", terminal_safe(given.error().message));
    return std::nullopt;
  }
  conversation_.add_answer(given->text, given->generated.tokens);
  last_speeds_ = speeds_text(*given);
  if (given->generated.reason == StopReason::context_full) {
    fmt::print(stderr, "the context of {} positions is full; /clear begins anew\n",
               session_->context());
  }
  if (verbose_) fmt::print(stderr, "{}\n", last_speeds_);
  return std::nullopt;
}

int ChatLoop::run() {
  fmt::print(stderr, "/? for help\n");
  while (true) {
    const auto message = read_message();
    if (!message) return kExitOk;
    if (message->empty()) continue;
    const DroppedPaths dropped = find_dropped_paths(*message);
    if (message->starts_with('/') && !dropped.begins_with_one) {
      if (command(*message) == Next::leave) return kExitOk;
      continue;
    }
    for (const std::string& path : dropped.paths) attach(path, find_media_kind(path));
    // Files alone wait for the question about them.
    if (dropped.text.empty()) continue;
    if (const auto error = reply(dropped.text)) return fail(*error);
  }
}

}  // namespace

int chat(const Model& model, Session& session, Conversation conversation, std::vector<Part> media,
         ChatOptions options) {
  return ChatLoop(model, session, std::move(conversation), std::move(media), std::move(options))
      .run();
}

}  // namespace kimberlite::cli
