using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Finds the largest magnitudes of each client's update, exactly: a range from a sample, one pass that counts and
/// collects, and a search among what was collected. If the sample was misleading, four more passes over that client
/// find the magnitude digit by digit.
/// </summary>
/// <param name="passes">The passes over the tensor.</param>
/// <param name="inputs">The updates.</param>
/// <param name="lowerFirst">Whether the lower index comes first among equal magnitudes; otherwise the higher.</param>
internal sealed unsafe class MagnitudePasses(TensorPasses passes, BlockInputs inputs, bool lowerFirst)
{
    // the sample: blocks of elements that follow each other, at places that depend on the tensor's size alone. Chosen:
    // the range then holds about a twentieth of the magnitudes, and the sample takes a hundredth of the pass.
    private const int SampledBlocks = 1024;
    private const int SampledElements = 8;

    // the most elements of an update whose magnitudes are all collected: chosen, a sample would be no smaller
    private const int CollectedElements = 1 << 15;

    // at least 1 / this of a large update can be collected; if the sample was that misleading, digits decide (chosen)
    private const int CollectedShare = 8;

    // the elements that are compared at a time
    private const int TileElements = SimdBackend.UpdateTile;

    /// <summary>Finds, for each client and rank k, the k largest magnitudes.</summary>
    public MagnitudeCut[][] Select(ReadOnlySpan<long> ranks)
    {
        int clients = inputs.Clients, perClient = ranks.Length;
        long elements = passes.Info.ElementCount;
        passes.Preload(inputs.Readers);
        var searches = new Search[clients * perClient];
        for (int i = 0; i < searches.Length; i++)
            searches[i] = new Search(i / perClient, ranks[i % perClient]);
        if (elements > CollectedElements)
        {
            passes.Workers.Run(clients, parallel: true, (Passes: this, searches, perClient), static (pass, client, scratch) =>
                pass.Passes.Sample(pass.searches.AsSpan(client * pass.perClient, pass.perClient), client, scratch));
        }

        PanelRuns runs = passes.Runs(inputs.Readers, passes.GroupingBy(NormAxis.Tensor).Panels(inputs.Readers.Length));
        foreach (Search search in searches)
            search.Begin(runs.Count, passes.Workers.Memory, elements > CollectedElements ? elements / CollectedShare : elements);
        try
        {
            Collect(searches, perClient, runs);
            passes.Workers.Run(searches.Length, parallel: true, (Passes: this, searches, runs), static (pass, i, scratch) =>
                pass.searches[i].Cut = pass.Passes.Resolve(pass.searches[i], pass.runs, scratch));
        }
        finally
        {
            foreach (Search search in searches)
                search.End();
        }

        return [.. searches.Chunk(perClient).Select(ofClient => ofClient.Select(search => search.Cut).ToArray())];
    }

    /// <summary>Takes a client's sample, and from it the ranges of its searches.</summary>
    private void Sample(Span<Search> searches, int client, Scratch scratch)
    {
        BlockInputs own = inputs.Of(client);
        long elements = passes.Info.ElementCount;
        var read = new TensorPanel[own.Readers.Length];
        double[] sample = new double[SampledBlocks * SampledElements];
        double* origins = stackalloc double[SampledElements];
        fixed (double* values = sample)
        {
            for (int block = 0; block < SampledBlocks; block++)
            {
                // one block of each stretch, at a place that follows no period of the tensor (a multiplicative hash)
                long first = elements * block / SampledBlocks, room = elements * (block + 1) / SampledBlocks - first - SampledElements;
                long start = first + (long)(unchecked((uint)block * 2654435761u) * (ulong)(room + 1) >> 32);
                scratch.Reset();
                for (int i = 0; i < read.Length; i++)
                    read[i] = own.Readers[i].Read(start, SampledElements, scratch);
                double* origin = TensorPasses.WidenOrigin(own, read, 0, SampledElements, origins);
                TensorPasses.Cpu.WidenUpdate(read[0], origin, SampledElements, values + block * SampledElements);
            }
        }

        bool isSingle = HoldsSingles(client);
        for (int i = 0; i < sample.Length; i++)
            sample[i] = isSingle ? (float)Math.Abs(sample[i]) : Math.Abs(sample[i]);
        foreach (Search search in searches)
            search.Bracket = MagnitudeBracket.FromSample(sample, (double)search.Rank / elements);
    }

    /// <summary>Counts the magnitudes of all clients, and collects those in the ranges.</summary>
    private void Collect(Search[] searches, int perClient, PanelRuns runs) => passes.RunPass(
        runs.Count, passes.UsesThreads(inputs.Readers), last: false, (Passes: this, searches, perClient, runs),
        static (pass, piece, scratch) => pass.Passes.Collect(pass.searches, pass.perClient, pass.runs[piece], piece, scratch));

    private void Collect(Search[] searches, int perClient, PanelRun run, int piece, Scratch scratch)
    {
        ReadOnlySpan<TensorPanel> read = run.Read(inputs.Readers, scratch);
        passes.AddWorkOnCpu(read, run.Length);
        // room for all magnitudes of each search, of which few are used
        long room = run.Length + 8L;
        double* origins = stackalloc double[TileElements], inside = (double*)scratch.Take(room * searches.Length * sizeof(double));
        float* singles = stackalloc float[TileElements];
        bool[] areSingles = [.. Enumerable.Range(0, inputs.Clients).Select(HoldsSingles)];
        for (int start = 0; start < run.Length; start += TileElements)
        {
            int count = Math.Min(TileElements, run.Length - start);
            double* origin = areSingles.Contains(false) ? TensorPasses.WidenOrigin(inputs, read, start, count, origins) : null;
            float* single = areSingles.Contains(true) ? WidenOrigin(read, start, count, singles) : null;
            for (int i = 0; i < searches.Length; i++)
            {
                int client = i / perClient;
                TensorPanel values = read[client].From(start);
                ref BracketCounts counts = ref searches[i].Counts[piece];
                if (areSingles[client])
                    SimdBackend.CollectSingles(values, single, count, searches[i].Bracket, ref counts, inside + i * room);
                else
                    TensorPasses.Cpu.CollectMagnitudes(values, origin, count, searches[i].Bracket, ref counts, inside + i * room);
            }
        }

        for (int i = 0; i < searches.Length; i++)
            searches[i].Keep(piece, inside + i * room);
    }

    /// <summary>Returns whether a client's update is a difference of binary32 numbers.</summary>
    private bool HoldsSingles(int client) => SimdBackend.HoldsSingles(inputs.Readers[client].DType)
        && (!inputs.SubtractsGlobal || SimdBackend.HoldsSingles(inputs.Readers[inputs.Clients].DType));

    /// <summary>Gets what is subtracted from the clients' elements, in binary32.</summary>
    private float* WidenOrigin(ReadOnlySpan<TensorPanel> read, int start, int count, float* origin)
    {
        if (!inputs.SubtractsGlobal)
        {
            new Span<float>(origin, count).Clear();
            return origin;
        }

        TensorPanel global = read[inputs.Clients].From(start);
        if (global.DType == DType.F32)
            return (float*)global.Data;
        SimdBackend.WidenSingles(global, count, origin);
        return origin;
    }

    /// <summary>Finds a magnitude from what was collected.</summary>
    private MagnitudeCut Resolve(Search search, PanelRuns runs, Scratch scratch)
    {
        BracketCounts counts = default;
        foreach (BracketCounts ofRun in search.Counts)
            counts.Add(ofRun);
        if (search.Overflowed || search.Bracket.Locate(counts, search.Rank) is not { } place)
            return ResolveByDigits(search, scratch);
        MagnitudeRank found = place.Value is { } end
            ? new MagnitudeRank(end, place.Above, place.Count)
            : search.FindInside(place.Above);
        // magnitudes that count on the other side of an end, or at an end, may be equal to it
        if (HoldsSingles(search.Client) && (place.Value is null ? !search.Bracket.IsWellInside(found.Value) : counts.Inexact > 0))
            return ResolveByDigits(search, scratch);
        if (!NeedsTie(search, found, out long number))
            return MagnitudeCut.From(found.Value);
        int run = 0;
        for (; search.CountTies(run, found.Value) is var ties && ties < number; run++)
            number -= ties;
        scratch.Reset();
        return CutAt(found.Value, FindTie(search.Client, runs[run], found.Value, number, scratch));
    }

    /// <summary>Finds a magnitude that is not in its range.</summary>
    private MagnitudeCut ResolveByDigits(Search search, Scratch scratch)
    {
        var selection = new RadixSelection(search.Rank);
        double[] magnitudes = new double[TensorPasses.VisitedElements];
        while (!selection.IsDone)
        {
            long[] histogram = new long[RadixSelection.Digits];
            passes.VisitUpdate(inputs, search.Client, scratch, (_, _, update) => selection.Add(ToMagnitudes(update), histogram));
            selection.Narrow([histogram]);
        }

        var found = new MagnitudeRank(selection.Threshold, selection.Above, selection.Ties);
        if (!NeedsTie(search, found, out long number))
            return MagnitudeCut.From(found.Value);
        long index = -1;
        passes.VisitUpdate(inputs, search.Client, scratch, (_, start, update) => index = index >= 0 ? index : Look(start, update));
        return CutAt(found.Value, index);

        ReadOnlySpan<double> ToMagnitudes(ReadOnlySpan<double> update)
        {
            System.Numerics.Tensors.TensorPrimitives.Abs(update, magnitudes);
            return magnitudes.AsSpan(0, update.Length);
        }

        long Look(long start, ReadOnlySpan<double> update) => LookForTie(start, update, found.Value, ref number);
    }

    /// <summary>
    /// Finds out whether only some of the equal magnitudes belong to the largest; then gives the number, in the order
    /// of the indices and from 1, of the one at the boundary.
    /// </summary>
    private bool NeedsTie(Search search, MagnitudeRank found, out long number)
    {
        long belong = search.Rank - found.Above;
        number = lowerFirst ? belong : found.Ties - belong + 1;
        return belong < found.Ties;
    }

    private MagnitudeCut CutAt(double value, long index) =>
        lowerFirst ? new MagnitudeCut(value, 0, index) : new MagnitudeCut(value, index, long.MaxValue);

    private long FindTie(int client, PanelRun run, double value, long number, Scratch scratch)
    {
        long index = -1;
        passes.VisitRun(inputs.Of(client), run, client, scratch, (_, start, update) =>
            index = index >= 0 ? index : LookForTie(start, update, value, ref number));
        return index;
    }

    private static long LookForTie(long start, ReadOnlySpan<double> update, double value, ref long number)
    {
        for (int i = 0; i < update.Length; i++)
        {
            if (Math.Abs(update[i]) == value && --number == 0)
                return start + i;
        }

        return -1;
    }

    /// <summary>The search for one client's magnitude of one rank.</summary>
    private sealed class Search(int client, long rank)
    {
        // what was collected, run after run in the order in which they ended, and where each run begins
        private NativeBuffer? _inside;
        private NativePool? _memory;
        private long[] _places = [];
        private long _room, _used;

        public int Client => client;

        public long Rank => rank;

        public MagnitudeBracket Bracket { get; set; } = MagnitudeBracket.All;

        public MagnitudeCut Cut { get; set; }

        /// <summary>The counts of each run.</summary>
        public BracketCounts[] Counts { get; private set; } = [];

        /// <summary>Whether there was no room for all that was to be collected.</summary>
        public bool Overflowed => _used > _room;

        private double* Inside => (double*)_inside!.Pointer;

        public void Begin(int runs, NativePool memory, long room)
        {
            (_places, Counts, _room, _memory) = (new long[runs], new BracketCounts[runs], room, memory);
            _inside = memory.Rent(room * sizeof(double));
        }

        /// <summary>Keeps what was collected in a run. Called by several threads at once.</summary>
        public void Keep(int run, double* inside)
        {
            int count = (int)Counts[run].Inside;
            long end = Interlocked.Add(ref _used, count);
            _places[run] = end - count;
            if (end <= _room)
                new ReadOnlySpan<double>(inside, count).CopyTo(new Span<double>(Inside + end - count, count));
        }

        /// <summary>Finds the magnitude among those inside the range.</summary>
        public MagnitudeRank FindInside(long above)
        {
            MagnitudeRank found = MagnitudeBracket.Find(TensorPasses.Cpu, _memory!, Inside, checked((int)_used), rank - above);
            return found with { Above = found.Above + above };
        }

        /// <summary>Counts the magnitudes of a run that are equal to one in the range.</summary>
        public long CountTies(int run, double value) =>
            value == Bracket.Low ? Counts[run].AtLow
            : value == Bracket.High ? Counts[run].AtHigh
            : new ReadOnlySpan<double>(Inside + _places[run], (int)Counts[run].Inside).Count(value);

        public void End() => _inside?.Dispose();
    }
}
