// The interop cases of gRPC in C++: client TARGET CASE... prints `ok CASE` or `not ok CASE: why`, a line each.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "testing.grpc.pb.h"

using namespace grpc::testing;
using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;

namespace {

constexpr int kLargeRequest = 271828;
constexpr int kLargeResponse = 314159;

using Stub = std::unique_ptr<TestService::Stub>;
using Channel = std::shared_ptr<grpc::Channel>;
using Duplex = grpc::ClientReaderWriter<StreamingOutputCallRequest, StreamingOutputCallResponse>;

void Check(bool is_so, const std::string& what) {
  if (!is_so) throw std::runtime_error(what);
}

void CheckStatus(const Status& status, StatusCode code) {
  Check(status.error_code() == code, "status " + std::to_string(status.error_code()) + " " + status.error_message());
}

void Within(ClientContext& context, int ms) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(ms));
}

SimpleRequest LargeRequest() {
  SimpleRequest request;
  request.set_response_size(kLargeResponse);
  request.mutable_payload()->set_body(std::string(kLargeRequest, '\0'));
  return request;
}

StreamingOutputCallRequest Ask(int size, int bytes) {
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(size);
  request.mutable_payload()->set_body(std::string(bytes, '\0'));
  return request;
}

void Large(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  SimpleResponse response;
  CheckStatus(stub->UnaryCall(&context, LargeRequest(), &response), StatusCode::OK);
  Check(response.payload().body() == std::string(kLargeResponse, '\0'), "the answer has another body");
}

void Empty1(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  Empty response;
  CheckStatus(stub->EmptyCall(&context, Empty(), &response), StatusCode::OK);
}

void ClientStreaming(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  StreamingInputCallResponse response;
  auto writer = stub->StreamingInputCall(&context, &response);
  for (const int size : {27182, 8, 1828, 45904}) {
    StreamingInputCallRequest request;
    request.mutable_payload()->set_body(std::string(size, '\0'));
    Check(writer->Write(request), "it takes no message");
  }
  writer->WritesDone();
  CheckStatus(writer->Finish(), StatusCode::OK);
  Check(response.aggregated_payload_size() == 74922, "another sum");
}

void ServerStreaming(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  StreamingOutputCallRequest request;
  const std::vector<int> sizes = {31415, 9, 2653, 58979};
  for (const int size : sizes) request.add_response_parameters()->set_size(size);
  auto reader = stub->StreamingOutputCall(&context, request);
  StreamingOutputCallResponse response;
  for (const int size : sizes) {
    Check(reader->Read(&response), "too few messages");
    Check(static_cast<int>(response.payload().body().size()) == size, "a message of another size");
  }
  Check(!reader->Read(&response), "too many messages");
  CheckStatus(reader->Finish(), StatusCode::OK);
}

void PingPong(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  auto stream = stub->FullDuplexCall(&context);
  const std::vector<std::pair<int, int>> turns = {{31415, 27182}, {9, 8}, {2653, 1828}, {58979, 45904}};
  for (const auto& [size, bytes] : turns) {
    Check(stream->Write(Ask(size, bytes)), "it takes no message");
    StreamingOutputCallResponse response;
    Check(stream->Read(&response), "no answer");
    Check(static_cast<int>(response.payload().body().size()) == size, "an answer of another size");
  }
  stream->WritesDone();
  CheckStatus(stream->Finish(), StatusCode::OK);
}

void EmptyStream(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  auto stream = stub->FullDuplexCall(&context);
  stream->WritesDone();
  StreamingOutputCallResponse response;
  Check(!stream->Read(&response), "an answer to nothing");
  CheckStatus(stream->Finish(), StatusCode::OK);
}

void CancelAfterBegin(const Stub& stub) {
  ClientContext context;
  StreamingInputCallResponse response;
  auto writer = stub->StreamingInputCall(&context, &response);
  context.TryCancel();
  CheckStatus(writer->Finish(), StatusCode::CANCELLED);
}

void CancelAfterFirstResponse(const Stub& stub) {
  ClientContext context;
  auto stream = stub->FullDuplexCall(&context);
  Check(stream->Write(Ask(31415, 27182)), "it takes no message");
  StreamingOutputCallResponse response;
  Check(stream->Read(&response), "no answer");
  context.TryCancel();
  CheckStatus(stream->Finish(), StatusCode::CANCELLED);
}

void Timeout(const Stub& stub) {
  ClientContext context;
  Within(context, 100);
  auto stream = stub->FullDuplexCall(&context);
  stream->Write(Ask(31415, 27182));
  StreamingOutputCallRequest slow;
  auto* parameters = slow.add_response_parameters();
  parameters->set_size(1);
  parameters->set_interval_us(2'000'000);
  stream->Write(slow);
  StreamingOutputCallResponse response;
  while (stream->Read(&response)) {
  }
  CheckStatus(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
}

void StatusOf(const Stub& stub, const std::string& message) {
  ClientContext context;
  Within(context, 20'000);
  SimpleRequest request;
  request.mutable_response_status()->set_code(2);
  request.mutable_response_status()->set_message(message);
  SimpleResponse response;
  const Status unary = stub->UnaryCall(&context, request, &response);
  CheckStatus(unary, StatusCode::UNKNOWN);
  Check(unary.error_message() == message, "another message: " + unary.error_message());
}

void CustomMetadata(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  const std::string bytes = "\xab\xab\xab";
  context.AddMetadata("x-grpc-test-echo-initial", "test_initial_metadata_value");
  context.AddMetadata("x-grpc-test-echo-trailing-bin", bytes);
  SimpleResponse response;
  CheckStatus(stub->UnaryCall(&context, LargeRequest(), &response), StatusCode::OK);
  const auto& initial = context.GetServerInitialMetadata();
  const auto first = initial.find("x-grpc-test-echo-initial");
  Check(first != initial.end() && first->second == "test_initial_metadata_value", "initial metadata are lost");
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto last = trailing.find("x-grpc-test-echo-trailing-bin");
  Check(last != trailing.end() && last->second == bytes, "trailing metadata are lost");
}

void UnimplementedMethod(const Stub& stub) {
  ClientContext context;
  Within(context, 20'000);
  Empty response;
  CheckStatus(stub->UnimplementedCall(&context, Empty(), &response), StatusCode::UNIMPLEMENTED);
}

const std::map<std::string, std::function<void(const Stub&)>> kCases = {
    {"empty_unary", Empty1},
    {"large_unary", Large},
    {"client_streaming", ClientStreaming},
    {"server_streaming", ServerStreaming},
    {"ping_pong", PingPong},
    {"empty_stream", EmptyStream},
    {"cancel_after_begin", CancelAfterBegin},
    {"cancel_after_first_response", CancelAfterFirstResponse},
    {"timeout_on_sleeping_server", Timeout},
    {"status_code_and_message", [](const Stub& stub) { StatusOf(stub, "test status message"); }},
    {"special_status_message",
     [](const Stub& stub) { StatusOf(stub, "\t\ntest with whitespace\r\nand Unicode BMP \u263A and non-BMP \U0001F608\t\n"); }},
    {"custom_metadata", CustomMetadata},
    {"unimplemented_method", UnimplementedMethod},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  grpc::ChannelArguments arguments;
  const Channel channel = grpc::CreateCustomChannel(argv[1], grpc::InsecureChannelCredentials(), arguments);
  const Stub stub = TestService::NewStub(channel);
  int failed = 0;
  for (int at = 2; at < argc; ++at) {
    const std::string name = argv[at];
    try {
      kCases.at(name)(stub);
      std::cout << "ok " << name << std::endl;
    } catch (const std::exception& error) {
      std::cout << "not ok " << name << ": " << error.what() << std::endl;
      ++failed;
    }
  }
  return failed == 0 ? 0 : 1;
}
