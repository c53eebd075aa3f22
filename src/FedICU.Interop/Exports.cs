using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FedICU.Diagnostics;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>The statuses of fedicu.h.</summary>
internal enum Status
{
    Ok = 0,
    InvalidArgument = 1,
    InvalidOptions = 2,
    InvalidModel = 3,
    RoundRejected = 4,
    WrongState = 5,
    Io = 6,
    OutOfMemory = 7,
    Aborted = 8,
    BufferTooSmall = 9,
    Internal = 99,
}

/// <summary>
/// The functions of fedicu.h, whose comments are their documentation. No exception leaves them. Each method is named as its function is, fedicu_begin_round BeginRound: hosts that load the
/// assembly find them so.
/// </summary>
public static unsafe class Exports
{
    internal const int Version = 1;

    private const uint Borrow = 1, Delta = 2;

    [ThreadStatic]
    private static LastSentence? t_error;

    /// <summary>fedicu_abi_version.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_abi_version")]
    public static int AbiVersion() => Version;

    /// <summary>fedicu_last_error.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_last_error")]
    public static byte* LastError() => (t_error ??= new LastSentence()).Text;

    /// <summary>fedicu_live_handles.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_live_handles")]
    public static long LiveHandles() => Handles.Count;

    /// <summary>fedicu_create.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_create")]
    public static int Create(byte* options, long* handle) => Run(() =>
    {
        *Required(handle, "handle") = 0;
        *handle = Handles.Add(new Aggregator(Parse(options, "options", InteropJson.Default.AggregatorSettings)));
    });

    /// <summary>fedicu_destroy.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_destroy")]
    public static int Destroy(long handle) => Run(() => Handles.Remove<Aggregator>(handle));

    /// <summary>fedicu_begin_round.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_begin_round")]
    public static int BeginRound(long handle, long round) => Run(() => Handles.Get<Aggregator>(handle).Begin(round));

    /// <summary>fedicu_set_global.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_global")]
    public static int SetGlobal(long handle, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        bool borrowed = ReadFlags(flags, Borrow) != 0;
        aggregator.SetGlobal(new CallerTensors((NativeTensor*)tensors, count, !borrowed), borrowed);
    });

    /// <summary>fedicu_set_global_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_global_file")]
    public static int SetGlobalFile(long handle, byte* path) => Run(() => Handles.Get<Aggregator>(handle).SetGlobal(Text(path, "path")));

    /// <summary>fedicu_add.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add")]
    public static int Add(long handle, byte* client, double weight, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = Text(client, "client");
        bool borrowed = (ReadFlags(flags, Borrow | Delta) & Borrow) != 0;
        UpdateKind kind = (flags & Delta) != 0 ? UpdateKind.Delta : UpdateKind.Full;
        aggregator.Add(id, weight, CallerTensors.OfClient(id, (NativeTensor*)tensors, count, !borrowed), kind, borrowed);
    });

    /// <summary>fedicu_add_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_file")]
    public static int AddFile(long handle, byte* client, double weight, byte* path) => Run(() => Handles.Get<Aggregator>(handle).Add(Text(client, "client"), weight, Text(path, "path")));

    /// <summary>fedicu_add_update.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_update")]
    public static int AddUpdate(long handle, byte* client, double weight, byte* metadata, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = Text(client, "client");
        Dictionary<string, string> says = Parse(metadata, $"Client {Sentence.Quote(id)}: its metadata", InteropJson.Default.DictionaryStringString);
        bool borrowed = ReadFlags(flags, Borrow) != 0;
        if (says.FirstOrDefault(pair => pair.Value is null) is { Key: { } empty })
            throw new ArgumentException($"Client {Sentence.Quote(id)}: its metadata's {Sentence.Quote(empty)} is null; a string was expected.");
        var sent = CallerTensors.OfClient(id, (NativeTensor*)tensors, count, !borrowed, says);
        aggregator.Add(id, double.IsNaN(weight) ? null : weight, sent, kind: null, borrowed);
    });

    /// <summary>fedicu_add_fault.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_fault")]
    public static int AddFault(long handle, byte* client, int fault, byte* reason) => Run(() =>
        Handles.Get<Aggregator>(handle).AddFault(Text(client, "client"), (ClientFault)fault, Text(reason, "reason")));

    /// <summary>fedicu_finish.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_finish")]
    public static int Finish(long handle, long count, void* tensors) => Run(() => Handles.Get<Aggregator>(handle).Finish(CallerTensors.Read((NativeTensor*)tensors, count)));

    /// <summary>fedicu_finish_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_finish_file")]
    public static int FinishFile(long handle, byte* path) => Run(() => Handles.Get<Aggregator>(handle).Finish(Text(path, "path")));

    /// <summary>fedicu_abort.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_abort")]
    public static int Abort(long handle) => Run(() => Handles.Get<Aggregator>(handle).Abort());

    /// <summary>fedicu_report_json.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_report_json")]
    public static int ReportJson(long handle, byte* buffer, ulong capacity, ulong* length) => Give(() => Handles.Get<Aggregator>(handle).ReportJson(), buffer, capacity, length);

    /// <summary>fedicu_export_state.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_export_state")]
    public static int ExportState(long handle, byte* buffer, ulong capacity, ulong* length) => Give(() => Handles.Get<Aggregator>(handle).ExportState(), buffer, capacity, length);

    /// <summary>fedicu_import_state.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_import_state")]
    public static int ImportState(long handle, byte* state) => Run(() => Handles.Get<Aggregator>(handle).ImportState(Parse(state, "state", InteropJson.Default.AggregatorState)));

    /// <summary>fedicu_mask.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_mask")]
    public static int Mask(byte* options, long count, void* global, void* local, void* momentum, void* momentumOut, long* update) => Run(() =>
    {
        *Required(update, "update") = 0;
        MaskSettings settings = Parse(options, "options", InteropJson.Default.MaskSettings);
        *update = Handles.Add(Update.Make(settings, count, (NativeTensor*)global, (NativeTensor*)local, (NativeTensor*)momentum, (NativeTensor*)momentumOut));
    });

    /// <summary>fedicu_update_count.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_count")]
    public static int UpdateCount(long update, long* count) => Run(() => *Required(count, "count") = Handles.Get<Update>(update).Model.Tensors.Count);

    /// <summary>fedicu_update_tensor.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_tensor")]
    public static int UpdateTensor(long update, long i, void* tensor) => Run(() => *Required((NativeTensor*)tensor, "tensor") = Handles.Get<Update>(update).Describe(i));

    /// <summary>fedicu_update_metadata_json.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_metadata_json")]
    public static int UpdateMetadataJson(long update, byte* buffer, ulong capacity, ulong* length) =>
        Give(() => JsonSerializer.Serialize(Handles.Get<Update>(update).Model.Metadata, InteropJson.Default.IReadOnlyDictionaryStringString), buffer, capacity, length);

    /// <summary>fedicu_update_save.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_save")]
    public static int UpdateSave(long update, byte* path) => Run(() => Handles.Get<Update>(update).Save(Text(path, "path")));

    /// <summary>fedicu_update_destroy.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_destroy")]
    public static int UpdateDestroy(long update) => Run(() => Handles.Remove<Update>(update));

    /// <summary>fedicu_proximal.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_proximal")]
    public static int Proximal(double mu, void* local, void* global, void* gradient, double* value) => Run(() =>
        *Required(value, "value") = CallerProximal.Run(mu, Required((NativeTensor*)local, "local"), Required((NativeTensor*)global, "global"), (NativeTensor*)gradient));

    private delegate void Step();

    private static int Run(Step step)
    {
        try
        {
            step();
            return (int)Status.Ok;
        }
        catch (Exception e)
        {
            (Status status, string sentence) = Describe(e);
            (t_error ??= new LastSentence()).Set(Sentence.Fit(sentence));
            return (int)status;
        }
    }

    private static int Give(Func<string> make, byte* buffer, ulong capacity, ulong* length)
    {
        bool tooSmall = false;
        int status = Run(() =>
        {
            byte[] text = Encoding.UTF8.GetBytes(make() + '\0');
            *Required(length, "length") = (ulong)text.Length;
            if (buffer == null)
                return;
            tooSmall = capacity < (ulong)text.Length;
            if (tooSmall)
                throw new ArgumentException($"The buffer has {capacity} bytes; {text.Length} were expected.");
            text.CopyTo(new Span<byte>(buffer, text.Length));
        });
        return tooSmall ? (int)Status.BufferTooSmall : status;
    }

    private static (Status, string) Describe(Exception e) => e switch
    {
        InvalidOptionsException => (Status.InvalidOptions, e.Message),
        InvalidModelException => (Status.InvalidModel, e.Message),
        RoundRejectedException => (Status.RoundRejected, e.Message),
        FedIcuException => (Status.InvalidModel, e.Message),
        ArgumentException => (Status.InvalidArgument, e.Message.Split(" (Parameter")[0]),
        OperationCanceledException => (Status.Aborted, "The round was aborted."),
        InvalidOperationException => (Status.WrongState, e.Message),
        IOException or UnauthorizedAccessException => (Status.Io, e.Message),
        OutOfMemoryException => (Status.OutOfMemory, "There is not enough memory."),
        _ => (Status.Internal, $"{e.GetType().Name}: {e.Message}"),
    };

    private static T* Required<T>(T* pointer, string name) where T : unmanaged =>
        pointer != null ? pointer : throw new ArgumentException($"{name} is a null pointer.");

    private static string Text(byte* text, string name) => Marshal.PtrToStringUTF8((nint)Required(text, name))!;

    private static T Parse<T>(byte* json, string name, JsonTypeInfo<T> type)
    {
        string text = Text(json, name);
        try
        {
            return JsonSerializer.Deserialize(text, type) ?? throw new JsonException("null, where an object was expected.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // of a text that is no Unicode the serializer throws the second
            throw new InvalidOptionsException([$"{name}: the JSON is not as expected: {e.Message}"]);
        }
    }

    private static uint ReadFlags(uint flags, uint known) =>
        (flags & ~known) == 0 ? flags : throw new ArgumentException($"The flags {flags} have bits that are unknown; {known} has those that are known.");

    /// <summary>A thread's last sentence, freed with the thread.</summary>
    private sealed class LastSentence
    {
        public byte* Text { get; private set; } = Utf8("");

        public void Set(string sentence)
        {
            byte* text = Utf8(sentence);
            NativeMemory.Free(Text);
            Text = text;
        }

        ~LastSentence() => NativeMemory.Free(Text);

        private static byte* Utf8(string text)
        {
            int bytes = Encoding.UTF8.GetByteCount(text);
            byte* memory = (byte*)NativeMemory.Alloc((nuint)bytes + 1);
            Encoding.UTF8.GetBytes(text, new Span<byte>(memory, bytes));
            memory[bytes] = 0;
            return memory;
        }
    }
}
