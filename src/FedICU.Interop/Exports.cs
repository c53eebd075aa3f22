using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FedICU.Diagnostics;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>
/// The functions of fedicu.h, which documents them. No exception leaves them. Each method must be named like its
/// function, BeginRound for fedicu_begin_round: hosts that load the assembly find it by that name.
/// </summary>
public static unsafe class Exports
{
    /// <summary>FEDICU_ABI_VERSION.</summary>
    internal const int Version = 1;

    // FEDICU_BORROW, FEDICU_DELTA and FEDICU_UNWEIGHTED
    private const uint Borrow = 1, Delta = 2, Unweighted = 4;

    private delegate void Step();

    /// <summary>fedicu_abi_version.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_abi_version")]
    public static int AbiVersion() => Version;

    /// <summary>fedicu_last_error.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_last_error")]
    public static byte* LastError() => ThreadError.Current.Text;

    /// <summary>fedicu_live_handles.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_live_handles")]
    public static long LiveHandles() => Handles.Count;

    /// <summary>fedicu_strategies.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_strategies")]
    public static int Strategies(byte* buffer, ulong capacity, ulong* length) =>
        CopyText(RegistryListing.ToJson, buffer, capacity, length);

    /// <summary>fedicu_create.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_create")]
    public static int Create(byte* options, long* handle) => Run(() =>
    {
        *RequireNotNull(handle, "handle") = 0;
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
        bool borrowed = CheckFlags(flags, Borrow) != 0;
        aggregator.SetGlobal(new CallerTensors((NativeTensor*)tensors, count, !borrowed), borrowed);
    });

    /// <summary>fedicu_set_global_adapter.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_global_adapter")]
    public static int SetGlobalAdapter(long handle, byte* config, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        bool borrowed = CheckFlags(flags, Borrow) != 0;
        PeftAdapterConfig parsed = Aggregator.ParseConfig(ReadText(config, "config"));
        aggregator.SetGlobal(new CallerTensors((NativeTensor*)tensors, count, !borrowed, config: parsed), borrowed);
    });

    /// <summary>fedicu_set_global_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_global_file")]
    public static int SetGlobalFile(long handle, byte* path) =>
        Run(() => Handles.Get<Aggregator>(handle).SetGlobal(ReadText(path, "path")));

    /// <summary>fedicu_add.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add")]
    public static int Add(long handle, byte* client, double weight, long count, void* tensors, uint flags) => Run(() =>
        AddTensors(Handles.Get<Aggregator>(handle), ReadText(client, "client"), weight, null, count, tensors, flags));

    /// <summary>fedicu_add_adapter.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_adapter")]
    public static int AddAdapter(
        long handle, byte* client, double weight, byte* config, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = ReadText(client, "client");
        aggregator.AddAdapter(id, ReadText(config, "config"), parsed => AddTensors(aggregator, id, weight, parsed, count, tensors, flags));
    });

    /// <summary>fedicu_add_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_file")]
    public static int AddFile(long handle, byte* client, double weight, byte* path) =>
        Run(() => Handles.Get<Aggregator>(handle).Add(ReadText(client, "client"), weight, ReadText(path, "path")));

    /// <summary>fedicu_add_update.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_update")]
    public static int AddUpdate(
        long handle, byte* client, double weight, byte* metadata, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = ReadText(client, "client");
        string whose = $"Client {Sentence.Quote(id)}: its metadata";
        Dictionary<string, string> parsed = Parse(metadata, whose, InteropJson.Default.DictionaryStringString);
        bool borrowed = CheckFlags(flags, Borrow) != 0;
        if (parsed.FirstOrDefault(pair => pair.Value is null) is { Key: { } nullKey })
            throw new ArgumentException($"{whose}'s {Sentence.Quote(nullKey)} is null; a string was expected.");
        var update = CallerTensors.OfClient(id, (NativeTensor*)tensors, count, !borrowed, parsed);
        aggregator.Add(id, double.IsNaN(weight) ? null : weight, update, kind: null, borrowed);
    });

    /// <summary>fedicu_add_fault.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_add_fault")]
    public static int AddFault(long handle, byte* client, int fault, byte* reason) => Run(() =>
        Handles.Get<Aggregator>(handle).AddFault(ReadText(client, "client"), (ClientFault)fault, ReadText(reason, "reason")));

    /// <summary>fedicu_set_statements.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_statements")]
    public static int SetStatements(long handle, byte* client, byte* statements) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = ReadText(client, "client");
        string whose = $"Client {Sentence.Quote(id)}: its statements";
        Dictionary<string, JsonElement> parsed = Parse(statements, whose, InteropJson.Default.DictionaryStringJsonElement);
        aggregator.SetStatements(id, ClientStatementTexts.Read(parsed, whose));
    });

    /// <summary>fedicu_set_control.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_set_control")]
    public static int SetControl(long handle, byte* client, long count, void* tensors, uint flags) => Run(() =>
    {
        Aggregator aggregator = Handles.Get<Aggregator>(handle);
        string id = ReadText(client, "client");
        bool borrowed = CheckFlags(flags, Borrow) != 0;
        aggregator.SetControl(id, CallerTensors.OfClient(id, (NativeTensor*)tensors, count, !borrowed), borrowed);
    });

    /// <summary>fedicu_finish.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_finish")]
    public static int Finish(long handle, long count, void* tensors) =>
        Run(() => Handles.Get<Aggregator>(handle).Finish(CallerTensors.Read((NativeTensor*)tensors, count)));

    /// <summary>fedicu_finish_file.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_finish_file")]
    public static int FinishFile(long handle, byte* path) => Run(() => Handles.Get<Aggregator>(handle).Finish(ReadText(path, "path")));

    /// <summary>fedicu_finish_model.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_finish_model")]
    public static int FinishModel(long handle, long* model) => Run(() =>
    {
        *RequireNotNull(model, "model") = 0;
        *model = Handles.Add(Handles.Get<Aggregator>(handle).FinishModel());
    });

    /// <summary>fedicu_abort.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_abort")]
    public static int Abort(long handle) => Run(() => Handles.Get<Aggregator>(handle).Abort());

    /// <summary>fedicu_report_json.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_report_json")]
    public static int ReportJson(long handle, byte* buffer, ulong capacity, ulong* length) =>
        CopyText(() => Handles.Get<Aggregator>(handle).ReportJson(), buffer, capacity, length);

    /// <summary>fedicu_export_state.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_export_state")]
    public static int ExportState(long handle, byte* buffer, ulong capacity, ulong* length) =>
        CopyText(() => Handles.Get<Aggregator>(handle).ExportState(), buffer, capacity, length);

    /// <summary>fedicu_import_state.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_import_state")]
    public static int ImportState(long handle, byte* state) =>
        Run(() => Handles.Get<Aggregator>(handle).ImportState(Parse(state, "state", InteropJson.Default.AggregatorState)));

    /// <summary>fedicu_mask.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_mask")]
    public static int Mask(
        byte* options, long count, void* global, void* local, void* momentum, void* momentumOut, long* update) => Run(() =>
    {
        *RequireNotNull(update, "update") = 0;
        MaskSettings settings = Parse(options, "options", InteropJson.Default.MaskSettings);
        *update = Handles.Add(Update.Make(
            settings, count, (NativeTensor*)global, (NativeTensor*)local, (NativeTensor*)momentum, (NativeTensor*)momentumOut));
    });

    /// <summary>fedicu_adapt.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_adapt")]
    public static int Adapt(byte* options, byte* config, long count, void* tensors, long* adapter) => Run(() =>
    {
        *RequireNotNull(adapter, "adapter") = 0;
        AdaptSettings settings = Parse(options, "options", InteropJson.Default.AdaptSettings);
        PeftAdapterConfig? parsed = config == null ? null : Aggregator.ParseConfig(ReadText(config, "config"));
        *adapter = Handles.Add(Update.Adapt(settings, parsed, (NativeTensor*)tensors, count));
    });

    /// <summary>fedicu_update_count.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_count")]
    public static int UpdateCount(long update, long* count) =>
        Run(() => *RequireNotNull(count, "count") = Handles.Get<Update>(update).Model.Tensors.Count);

    /// <summary>fedicu_update_tensor.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_tensor")]
    public static int UpdateTensor(long update, long i, void* tensor) =>
        Run(() => *RequireNotNull((NativeTensor*)tensor, "tensor") = Handles.Get<Update>(update).Describe(i));

    /// <summary>fedicu_update_metadata_json.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_metadata_json")]
    public static int UpdateMetadataJson(long update, byte* buffer, ulong capacity, ulong* length) => CopyText(
        () => JsonSerializer.Serialize(
            Handles.Get<Update>(update).Model.Metadata, InteropJson.Default.IReadOnlyDictionaryStringString),
        buffer, capacity, length);

    /// <summary>fedicu_update_config_json.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_config_json")]
    public static int UpdateConfigJson(long update, byte* buffer, ulong capacity, ulong* length) => CopyText(
        () => Handles.Get<Update>(update).Config is { } config ? Encoding.UTF8.GetString(config.RawJson.Span) : "",
        buffer, capacity, length);

    /// <summary>fedicu_update_save.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_save")]
    public static int UpdateSave(long update, byte* path) => Run(() => Handles.Get<Update>(update).Save(ReadText(path, "path")));

    /// <summary>fedicu_update_destroy.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_update_destroy")]
    public static int UpdateDestroy(long update) => Run(() => Handles.Remove<Update>(update));

    /// <summary>fedicu_proximal.</summary>
    [UnmanagedCallersOnly(EntryPoint = "fedicu_proximal")]
    public static int Proximal(double mu, void* local, void* global, void* gradient, double* value) => Run(() =>
        *RequireNotNull(value, "value") = CallerProximal.Run(
            mu, RequireNotNull((NativeTensor*)local, "local"), RequireNotNull((NativeTensor*)global, "global"), (NativeTensor*)gradient));

    private static void AddTensors(
        Aggregator aggregator, string client, double weight, PeftAdapterConfig? config, long count, void* tensors, uint flags)
    {
        bool borrowed = (CheckFlags(flags, Borrow | Delta | Unweighted) & Borrow) != 0;
        UpdateKind kind = (flags & Delta) != 0 ? UpdateKind.Delta : UpdateKind.Full;
        CallerTensors update = CallerTensors.OfClient(client, (NativeTensor*)tensors, count, !borrowed, config: config);
        aggregator.Add(client, (flags & Unweighted) != 0 ? null : weight, update, kind, borrowed);
    }

    /// <summary>
    /// Runs a step. Turns an exception into a status and keeps its message as the thread's last error.
    /// </summary>
    private static int Run(Step step)
    {
        try
        {
            step();
            return (int)Status.Ok;
        }
        catch (Exception e)
        {
            (Status status, string message) = Describe(e);
            ThreadError.Current.Set(Sentence.Fit(message));
            return (int)status;
        }
    }

    /// <summary>Copies a text into the caller's buffer, or only stores its length if the buffer is null.</summary>
    private static int CopyText(Func<string> make, byte* buffer, ulong capacity, ulong* length)
    {
        bool tooSmall = false;
        int status = Run(() =>
        {
            byte[] text = Encoding.UTF8.GetBytes(make() + '\0');
            *RequireNotNull(length, "length") = (ulong)text.Length;
            if (buffer == null)
                return;
            tooSmall = capacity < (ulong)text.Length;
            if (tooSmall)
                throw new ArgumentException($"The buffer has {capacity} bytes; {text.Length} were expected.");
            text.CopyTo(new Span<byte>(buffer, text.Length));
        });
        return tooSmall ? (int)Status.BufferTooSmall : status;
    }

    private static (Status Status, string Message) Describe(Exception e) => e switch
    {
        InvalidOptionsException => (Status.InvalidOptions, e.Message),
        InvalidModelException => (Status.InvalidModel, e.Message),
        RoundRejectedException => (Status.RoundRejected, e.Message),
        FedIcuException => (Status.InvalidModel, e.Message),
        // .NET appends the name of its own parameter, which the caller does not know
        ArgumentException => (Status.InvalidArgument, e.Message.Split(" (Parameter")[0]),
        OperationCanceledException => (Status.Aborted, "The round was aborted."),
        InvalidOperationException => (Status.WrongState, e.Message),
        IOException or UnauthorizedAccessException => (Status.Io, e.Message),
        OutOfMemoryException => (Status.OutOfMemory, "There is not enough memory."),
        _ => (Status.Internal, $"{e.GetType().Name}: {e.Message}"),
    };

    private static T* RequireNotNull<T>(T* pointer, string name) where T : unmanaged =>
        pointer != null ? pointer : throw new ArgumentException($"{name} is a null pointer.");

    private static string ReadText(byte* text, string name) => Marshal.PtrToStringUTF8((nint)RequireNotNull(text, name))!;

    private static T Parse<T>(byte* json, string name, JsonTypeInfo<T> type)
    {
        string text = ReadText(json, name);
        try
        {
            return JsonSerializer.Deserialize(text, type) ?? throw new JsonException("null, where an object was expected.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // the serializer throws InvalidOperationException for text that is not valid Unicode
            throw new InvalidOptionsException([$"{name}: the JSON is not as expected: {e.Message}"]);
        }
    }

    private static uint CheckFlags(uint flags, uint known) => (flags & ~known) == 0 ? flags
        : throw new ArgumentException($"The flags {flags} have unknown bits; only the bits of {known} are known.");
}
