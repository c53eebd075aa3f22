namespace FedICU.Experiments;

internal sealed partial class Run
{
    private void Add(int round, double[] bits, double milliseconds, RoundReport? report)
    {
        IEnumerable<TensorClientReport> parts = report?.Tensors.SelectMany(tensor => tensor.Clients) ?? [];
        var row = new RoundResult
        {
            Run = key,
            Round = round,
            Domains = corpus.Names.Zip(bits).ToDictionary(pair => pair.First, pair => pair.Second),
            General = bits[^1],
            Sent = _sent,
            Whole = _whole,
            Cosine = parts.Select(part => part.Cosine ?? 0).DefaultIfEmpty().Average(),
            UpdateNorm = parts.Select(part => part.UpdateNorm ?? 0).DefaultIfEmpty().Average(),
            CrossTerm = report?.LoraPairs.Average(pair => double.IsFinite(pair.CrossTerm) ? pair.CrossTerm : (double?)null),
            RelativeError = report?.LoraPairs.Average(pair => pair.RelativeError),
            ServerMilliseconds = milliseconds,
            SentAgain = report is not null && _chosen > 0 ? _again / (double)_chosen : null,
        };
        results.Add(row);
        _measured.Add(row);
    }

    /// <summary>Measures the bits per byte of each domain's test text and of the general test text.</summary>
    private double[] Measure()
    {
        var tests = new List<(int Adapter, int Domain)>();
        for (int domain = 0; domain <= corpus.Names.Count; domain++)
            tests.AddRange(Holders(domain).Select(adapter => (adapter, domain)));
        double[] bits = new double[tests.Count];
        ForEach(Enumerable.Range(0, tests.Count), i =>
        {
            (int adapter, int domain) = tests[i];
            bits[i] = Bits(_adapters[adapter], domain == corpus.Names.Count ? corpus.GeneralTest : corpus.Test[domain]);
        });
        return [.. Enumerable.Range(0, corpus.Names.Count + 1).Select(domain =>
            tests.Index().Where(test => test.Item.Domain == domain).Average(test => bits[test.Index]))];
    }

    private double Bits(Adapter adapter, int[] text) =>
        Training.BitsPerByte(Model, adapter, text, corpus.Encoding, options.TestWindows, cancellationToken);

    /// <summary>
    /// Lists the adapters to measure on a domain: the shared one, or those of the clients that have most of the domain.
    /// All adapters are measured on the general text.
    /// </summary>
    private IEnumerable<int> Holders(int domain)
    {
        if (method.Kind != MethodKind.Local)
            return [0];
        if (domain == corpus.Names.Count)
            return Enumerable.Range(0, _clients.Count);
        double most = _clients.Max(client => client.Mixture[domain]);
        return Enumerable.Range(0, _clients.Count).Where(k => _clients[k].Mixture[domain] >= most);
    }
}
