using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds;
using FedICU.Rounds.State;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// One tensor of a round as a stage sees it: the clients' checked inputs, verbs that measure them, and verbs that
/// compute the output from them. A merge calls exactly one verb that writes the output.
/// </summary>
/// <remarks>A context is valid until the stage's method returns; then it is reused for another tensor.</remarks>
public class TensorContext
{
    private readonly RoundRun _run;
    private readonly InputSet?[] _inputs = new InputSet?[4];
    private readonly double[] _weights, _scores, _given;
    private readonly List<(UpdateTransform Transform, double[][]? Numbers)> _transforms = [];
    private DensePanelReader? _global, _globalOnDevice;
    private bool _hasGlobal, _hasGlobalOnDevice;
    private int _number;

    private protected TensorContext(RoundRun run)
    {
        int clients = run.Clients.Count;
        (_run, _weights, _scores, _given) = (run, new double[clients], new double[clients], new double[clients]);
        Passes = new TensorPasses(run.Settings);
    }

    /// <summary>Gets the tensor's name, shape and type in the global model.</summary>
    public TensorInfo Info => Passes.Info;

    /// <summary>Gets the tensor in the output.</summary>
    public TensorInfo Output => Passes.Output;

    /// <summary>Gets the round's plan.</summary>
    public RoundPlan Plan => _run.Plan;

    /// <summary>Gets the clients in ordinal order of their ids. Verbs number their inputs in this order.</summary>
    public IReadOnlyList<RoundClient> Clients => _run.Clients;

    /// <summary>Gets the passes over the tensor.</summary>
    internal TensorPasses Passes { get; }

    /// <summary>Gets the clients' weights in the merge, all of them multiplied by one power of two.</summary>
    internal ReadOnlySpan<double> Weights => _run.Weights;

    /// <summary>Gets whether the round's tensors are in the memory of the backend's device.</summary>
    internal bool OnDevice => _run.OnDevice;

    /// <summary>Gets whether stages before the merge change the updates.</summary>
    internal bool ChangesUpdates => _transforms.Count > 0 || Plan.HasFactors;

    /// <summary>Gets the reader of the global model's tensor.</summary>
    internal DensePanelReader Global => OpenGlobal(ref _global, ref _hasGlobal, onDevice: false);

    /// <summary>Adds a client's weight in this tensor, and its score if there is one, to the report.</summary>
    /// <param name="client">The client's index in <see cref="Clients"/>.</param>
    /// <param name="weight">The weight w_k that the client's values are combined with.</param>
    /// <param name="score">The score s_k that the weight was computed from.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// <paramref name="client"/> is not an index of <see cref="Clients"/>.
    /// </exception>
    public void ReportWeight(int client, double weight, double? score = null)
    {
        if (client < 0 || client >= Clients.Count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(client), client, $"There is no client with this index; an index from 0 to {Clients.Count - 1} was expected.");
        }

        (_weights[client], _scores[client]) = (weight, score ?? double.NaN);
    }

    /// <summary>
    /// Writes output = round(sum_k w_k y_k / sum_k w_k), the mean by the clients' weights in the merge: n_k (McMahan et
    /// al. 2017), unless a weighting before the merge set others.
    /// </summary>
    public void WeightedMean()
    {
        double total = 0;
        foreach (double weight in _run.Weights)
            total += weight;
        for (int k = 0; k < Clients.Count; k++)
            ReportWeight(k, _run.HasOwnWeights ? _run.Weights[k] / total : Clients[k].Share);
        WriteSum(_run.Weights, total);
    }

    /// <summary>
    /// Writes output = round(sum_k weights[k] y_k / divisor). The sum and the quotient are float64 and are rounded
    /// once.
    /// </summary>
    /// <param name="weights">One finite weight for each client.</param>
    /// <param name="divisor">A finite number other than 0 that the sum is divided by.</param>
    /// <exception cref="ArgumentException">
    /// The number of weights is not the number of clients, a weight is not finite, or the divisor is 0 or not finite.
    /// </exception>
    public void WeightedSum(ReadOnlySpan<double> weights, double divisor)
    {
        if (weights.Length != Clients.Count)
        {
            throw new ArgumentException(
                $"There {Sentence.Form(weights.Length, "is", "are")} {Sentence.Count(weights.Length, "weight")} for " +
                $"{Sentence.Count(Clients.Count, "client")}; one for each was expected.",
                nameof(weights));
        }

        for (int k = 0; k < weights.Length; k++)
        {
            if (!double.IsFinite(weights[k]))
            {
                throw new ArgumentException(
                    $"The weight of client {Sentence.Quote(Clients[k].Id)} is {Numbers.Invariant(weights[k])}; " +
                    "a finite number was expected.",
                    nameof(weights));
            }
        }

        if (divisor == 0 || !double.IsFinite(divisor))
        {
            throw new ArgumentException(
                $"The divisor is {Numbers.Invariant(divisor)}; a finite number other than 0 was expected.", nameof(divisor));
        }

        WriteSum(weights, divisor);
    }

    /// <summary>
    /// Writes, for each element, the mean of the clients' values without the <paramref name="trim"/> smallest and the
    /// <paramref name="trim"/> largest (Yin et al. 2018). Weights do not count.
    /// </summary>
    /// <param name="trim">The number of values that are dropped at each end; at least one value must remain.</param>
    public void MiddleMean(int trim)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(trim);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(2 * trim, Clients.Count);
        Passes.MiddleMean(Inputs(UpdateForm.Parameters, withGlobal: false), trim);
    }

    /// <summary>
    /// Computes the output element by element from all clients' values of that element. Use it for rules that no fused
    /// verb computes.
    /// </summary>
    /// <remarks>
    /// If a client's value is not finite, the round applies its policy for non-finite values. If all values are finite
    /// and the rule's result is not, the round is refused.
    /// </remarks>
    /// <param name="form">
    /// Whether the rule gets parameters or updates. The result of updates is added to the global model's value.
    /// </param>
    /// <param name="rule">
    /// Gets the clients' values of one element in the order of <see cref="Clients"/>, and returns the result. It may
    /// overwrite the values.
    /// </param>
    public void ForEachElement(UpdateForm form, ElementRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        Passes.ForEachElement(Inputs(form, withGlobal: form == UpdateForm.Delta), Clients.Count, rule);
    }

    /// <summary>
    /// Computes the output block by block from all clients' values, as <see cref="ForEachElement"/> does element by
    /// element: for rules that are written with vectors.
    /// </summary>
    /// <param name="form">
    /// Whether the rule gets parameters or updates. The result of updates is added to the global model's values.
    /// </param>
    /// <param name="rule">Writes the block's result from the values of <see cref="Clients"/>, in their order.</param>
    public void ForEachBlock(UpdateForm form, BlockRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        Passes.ForEachBlock(BlockInputs(form), rule);
    }

    /// <summary>Adds what a rule finds in blocks of the clients' values, in the order of the elements.</summary>
    internal void AddFromBlocks(UpdateForm form, Span<double> sums, BlockSums rule) =>
        Passes.AddFromBlocks(BlockInputs(form), sums, rule);

    /// <summary>Finds, for each client and rank k, the k largest magnitudes of the update, exactly.</summary>
    /// <param name="lowerFirst">Whether the lower index comes first among equal ones; otherwise the higher.</param>
    /// <param name="ranks">The ranks, from 1 to the number of elements.</param>
    internal MagnitudeCut[][] SelectMagnitudes(bool lowerFirst, params ReadOnlySpan<long> ranks) =>
        new MagnitudePasses(Passes, BlockInputs(UpdateForm.Delta), lowerFirst).Select(ranks);

    /// <summary>Writes x + u, where u merges the updates' largest magnitudes by their elected signs.</summary>
    internal void ElectSigns(double[] weights, SignElection election, MagnitudeCut[] cuts) =>
        Passes.ElectSigns(BlockInputs(UpdateForm.Delta), weights, election, cuts);

    /// <summary>Writes x + u, where u merges masked updates by their elected signs.</summary>
    internal void ElectSigns(double[] weights, SignElection election, MaskedUpdates masked) => Passes.ElectSigns(
        BlockInputs(UpdateForm.Delta), weights, election, [.. weights.Select(_ => MagnitudeCut.From(0))], masked);

    /// <summary>
    /// Writes x + sum_k factors[k] d_k, where an entry of d_k counts if its random number is below a limit.
    /// </summary>
    internal void AddMasked(UniformNumbers[] numbers, double limit, double[] factors) =>
        Passes.AddMasked(BlockInputs(UpdateForm.Delta), numbers, limit, factors);

    /// <summary>
    /// Shows each client's update in float64, in pieces that follow each other. Several clients are visited at once,
    /// each by one thread.
    /// </summary>
    internal void VisitUpdates(UpdateVisitor visitor)
    {
        BlockInputs inputs = BlockInputs(UpdateForm.Delta);
        Passes.Workers.Run(Clients.Count, parallel: true, (Passes, inputs, visitor), static (pass, client, scratch) =>
            pass.Passes.VisitUpdate(pass.inputs, client, scratch, pass.visitor));
    }

    /// <summary>
    /// Writes output = round(x + sum_k weights[k] d_k), the global model and a combination of the updates, in one pass.
    /// </summary>
    internal void AddUpdates(ReadOnlySpan<double> weights)
    {
        bool differs = _run.AllSentParameters && !ChangesUpdates;
        double[] withGlobal = [.. weights, 1];
        // sum_k w_k (y_k - x) = sum_k w_k y_k - x sum_k w_k
        for (int k = 0; k < weights.Length && differs; k++)
            withGlobal[^1] -= weights[k];
        Passes.WeightedSum(Inputs(differs ? UpdateForm.Parameters : UpdateForm.Delta, withGlobal: true), false, withGlobal, 1);
    }

    /// <summary>Adds the squared norm of each client's update: sum over the elements of (y_k - x)^2.</summary>
    /// <param name="sums">One sum for each client.</param>
    /// <exception cref="ArgumentException">There is not one sum for each client.</exception>
    public void AddSquaredNorms(Span<double> sums)
    {
        RequireSums(sums, Clients.Count);
        AddDistances(direction: null, sums);
    }

    /// <summary>
    /// Adds the squared norm of each client's update, and with a model as direction, the inner products of the updates
    /// and the direction's after them. The direction's own sums come after the clients'.
    /// </summary>
    /// <param name="direction">A model; null for none.</param>
    /// <param name="sums">N sums; 2 (N + 1) with a direction.</param>
    internal void AddDistances(PanelReader? direction, Span<double> sums)
    {
        // distances to the global model, if clients sent parameters: no update is computed on its own
        bool differs = _run.AllSentParameters && !ChangesUpdates;
        PanelReader[] inputs = Inputs(differs ? UpdateForm.Parameters : UpdateForm.Delta, withGlobal: false);
        PanelReader? towards = differs || direction is null ? direction : Subtract(direction);
        Passes.AddDistances(towards is null ? inputs : [.. inputs, towards], differs ? Global : null, towards, sums);
    }

    /// <summary>
    /// Adds the squared norms of the clients' values, then their inner products with the last client's.
    /// </summary>
    /// <param name="form">Whether values are parameters or updates.</param>
    /// <param name="sums">2 N sums.</param>
    internal void AddProductsWithLast(UpdateForm form, Span<double> sums)
    {
        bool differs = form == UpdateForm.Delta && _run.AllSentParameters && !ChangesUpdates;
        PanelReader[] inputs = Inputs(differs ? UpdateForm.Parameters : form, withGlobal: false);
        Passes.Preload(inputs);
        Passes.AddDistances(inputs, differs ? Global : null, inputs[^1], sums);
    }

    /// <summary>
    /// Adds the squared distance of each pair of clients j &lt; k, in the order of
    /// <see cref="RoundStatistic.PairDistances"/>: sum over the elements of (y_j - y_k)^2, in direct differences.
    /// </summary>
    /// <param name="sums">N (N - 1) / 2 sums: of the pairs with k = 1, then with k = 2, ...</param>
    /// <exception cref="ArgumentException">There is not one sum for each pair.</exception>
    public void AddPairDistances(Span<double> sums)
    {
        RequireSums(sums, (long)Clients.Count * (Clients.Count - 1) / 2);
        // differences of updates are those of parameters; without rounding if all clients sent updates
        UpdateForm form = _run.AllSentUpdates ? UpdateForm.Delta : UpdateForm.Parameters;
        Passes.AddPairDistances(Inputs(form, withGlobal: false), sums);
    }

    /// <summary>
    /// Returns the clients' reported weights, followed by their scores if any client has one. A value that was not
    /// reported is NaN. Returns null if every client's weight is its share and there are no scores.
    /// </summary>
    internal double[]? Reported()
    {
        bool hasScores = _scores.AsSpan().ContainsAnyExcept(double.NaN), byShare = !hasScores;
        for (int k = 0; k < _weights.Length && byShare; k++)
            byShare = _weights[k] == Clients[k].Share;
        return byShare ? null : hasScores ? [.. _weights, .. _scores] : [.. _weights];
    }

    /// <summary>Writes the global model's values in the output's type.</summary>
    internal void KeepGlobal()
    {
        if (Output.DType != Info.DType)
            Passes.Convert(Global);
        else
            _run.Global.CopyTo(_run.Settings.Output, Info, Info, Passes.Workers.CancellationToken);
    }

    /// <summary>Writes the weighted mean of integers.</summary>
    internal void WriteIntegerMean() => Passes.WriteIntegerMean(
        Inputs(UpdateForm.Parameters, withGlobal: true, whole: true), Clients.Select(client => client.Weight),
        k => _run.Participants[k].Kind == UpdateKind.Delta);

    /// <summary>
    /// Returns the readers of all clients, followed by the global model's reader if asked for. The merge reads updates
    /// after the stages before it.
    /// </summary>
    /// <param name="form">Whether clients are read as parameters or as updates.</param>
    /// <param name="withGlobal">Whether the global model is the last input.</param>
    /// <param name="whole">Whether tensors are read as they were sent, which integers are.</param>
    /// <param name="onDevice">
    /// Whether panels may be in the device's memory, which only the backend's verbs can read.
    /// </param>
    internal PanelReader[] Inputs(UpdateForm form, bool withGlobal, bool whole = false, bool onDevice = false)
    {
        return !whole && ChangesUpdates
            ? Change(Open(UpdateForm.Delta, withGlobal: false, whole: false, onDevice), form, withGlobal)
            : Open(form, withGlobal, whole, onDevice);
    }

    /// <summary>
    /// Returns the inputs of passes in blocks. Updates are computed in each block if the clients sent parameters.
    /// </summary>
    private BlockInputs BlockInputs(UpdateForm form)
    {
        bool differs = form == UpdateForm.Delta && _run.AllSentParameters && !ChangesUpdates;
        return new BlockInputs(
            Inputs(differs ? UpdateForm.Parameters : form, withGlobal: form == UpdateForm.Delta), Clients.Count, differs);
    }

    /// <summary>Returns the readers of updates as they were sent, before all stages.</summary>
    private PanelReader[] Open(UpdateForm form, bool withGlobal, bool whole, bool onDevice)
    {
        InputSet set = _inputs[(int)form + (onDevice ? 2 : 0)] ??= new InputSet(Clients.Count);
        DensePanelReader global = onDevice ? OpenGlobal(ref _globalOnDevice, ref _hasGlobalOnDevice, onDevice: true) : Global;
        for (; set.Opened < Clients.Count; set.Opened++)
        {
            Participant participant = _run.Participants[set.Opened];
            PanelReader? spare = set.Clients[set.Opened];
            PanelReader reader = whole ? participant.OpenWhole(Info, _number, spare)
                : participant.OpenReader(Info, _number, form, global, Passes.Backend, spare, onDevice);
            if (reader != spare)
                set.WithGlobal[set.Opened] = set.Clients[set.Opened] = reader;
        }

        if (!withGlobal)
            return set.Clients;
        set.WithGlobal[^1] = global;
        return set.WithGlobal;
    }

    /// <summary>Opens the clients' control variates of the tensor. The caller disposes the readers.</summary>
    internal PanelReader[] OpenControls() =>
        [.. _run.Participants.Select(participant => new DensePanelReader(participant.Control!, participant.Control!.Find(Info.Name)!))];

    /// <summary>Opens a state of the tensor; null in a first round. The caller disposes the reader.</summary>
    internal PanelReader? OpenState(string slot)
    {
        TensorInfo? tensor = _run.State?.Find(StateTensors.Describe(Info, slot).Name);
        return tensor is null ? null : new DensePanelReader(_run.State!, tensor);
    }

    /// <summary>Opens the tensor of a model that a stage names. The caller disposes the reader.</summary>
    internal PanelReader OpenModel(string name)
    {
        TensorSource model = _run.Models[name];
        return new DensePanelReader(model, model.Find(Info.Name)!);
    }

    /// <summary>Gets whether parameters can be read without an addition.</summary>
    internal bool SendsParameters => _run.AllSentParameters;

    /// <summary>Returns a reader of the global model plus an update.</summary>
    internal PanelReader AddGlobal(PanelReader update) => new SumPanelReader(update, Global, 1, Passes.Backend);

    /// <summary>Returns a reader of a model's difference to the global one.</summary>
    private SumPanelReader Subtract(PanelReader model) => new SumPanelReader(model, Global, -1, Passes.Backend);

    /// <summary>Begins a tensor. <see cref="Close"/> has closed the readers of the tensor before.</summary>
    private protected void Begin(TensorInfo info, TensorInfo output, IPassProgress? progress, int number)
    {
        Passes.Begin(info, output, progress, number);
        _number = number;
        _weights.AsSpan().Fill(double.NaN);
        _scores.AsSpan().Fill(double.NaN);
    }

    /// <summary>Closes the tensor's readers.</summary>
    private protected void Close()
    {
        foreach (InputSet? set in _inputs)
        {
            for (; set?.Opened > 0; set.Opened--)
                set.Clients[set.Opened - 1].Dispose();
        }

        _global?.Dispose();
        _globalOnDevice?.Dispose();
        (_hasGlobal, _hasGlobalOnDevice) = (false, false);
        _transforms.Clear();
        Passes.Close();
    }

    /// <summary>Lets transforms change the updates that are read from now on.</summary>
    internal void Prepare(IReadOnlyList<UpdateTransform> transforms)
    {
        for (int i = 0; i < transforms.Count; i++)
            _transforms.Add((transforms[i], transforms[i].Prepare(this)));
    }

    private static void RequireSums(Span<double> sums, long expected)
    {
        if (sums.Length != expected)
            throw new ArgumentException($"There are {sums.Length} sums; {expected} were expected.", nameof(sums));
    }

    private void WriteSum(ReadOnlySpan<double> weights, double divisor)
    {
        weights.CopyTo(_given);
        if (_run.AllSentParameters && Plan.HasFactors && _transforms.Count == 0)
        {
            // sum_k w_k (x + f_k (y_k - x)) = sum_k w_k f_k y_k + x sum_k w_k (1 - f_k)
            double[] withGlobal = new double[Clients.Count + 1];
            for (int k = 0; k < Clients.Count; k++)
            {
                withGlobal[k] = weights[k] * Clients[k].Factor;
                withGlobal[^1] += weights[k] * (1 - Clients[k].Factor);
            }

            Passes.WeightedSum(Open(UpdateForm.Parameters, withGlobal: true, whole: false, onDevice: false), false, withGlobal, divisor);
            return;
        }

        bool onDevice = OnDevice && Passes.Finish is null && !ChangesUpdates;
        Passes.WeightedSum(Inputs(UpdateForm.Parameters, withGlobal: false, onDevice: onDevice), onDevice, _given, divisor);
    }

    /// <summary>Wraps readers of the updates, so that they apply transforms and factors.</summary>
    private PanelReader[] Change(PanelReader[] updates, UpdateForm form, bool withGlobal)
    {
        var changed = new PanelReader[updates.Length + (withGlobal ? 1 : 0)];
        PanelReader? global = form == UpdateForm.Parameters ? Global : null;
        for (int k = 0; k < updates.Length; k++)
        {
            int client = k;
            ChangedPanelReader.Transform? transform = _transforms.Count == 0 ? null : (start, update) =>
            {
                foreach ((UpdateTransform each, double[][]? numbers) in _transforms)
                    each.Apply(new UpdateBlock(Info, client, start, numbers?[client] ?? [], update));
            };
            changed[k] = new ChangedPanelReader(updates[k], global, Clients[k].Factor, transform, Passes.Backend);
        }

        if (withGlobal)
            changed[^1] = Global;
        return changed;
    }

    private DensePanelReader OpenGlobal(ref DensePanelReader? reader, ref bool isOpen, bool onDevice)
    {
        if (!isOpen)
            reader?.Open(_run.Global, Info, null, _number, onDevice);
        isOpen = true;
        return reader ??= new DensePanelReader(_run.Global, Info, null, _number, onDevice);
    }

    /// <summary>
    /// The clients' readers in one form, without and with the global model's reader after them. They are reused for the
    /// next tensor.
    /// </summary>
    private sealed class InputSet(int clients)
    {
        public readonly PanelReader[] Clients = new PanelReader[clients], WithGlobal = new PanelReader[clients + 1];
        public int Opened;
    }
}
