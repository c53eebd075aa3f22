using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using FedICU;

namespace FederatedLanguages;

internal static class Program
{
    private const string BaseFile = "base.safetensors";

    // the column of fedavg without attackers
    private const string NoAttack = "no attack";

    // one byte of noise for this many bytes of the base's text; chosen
    private const int NoiseShare = 16;

    // training steps of the base; chosen
    private const int PretrainingSteps = 20_000;

    // training steps of the base with --quick; chosen
    private const int QuickPretrainingSteps = 200;

    private static async Task<int> Main(string[] args)
    {
        using var cancellation = new CancellationTokenSource();
        Console.CancelKeyPress += (_, press) =>
        {
            // the first Ctrl+C cancels the work, a second one ends the process at once
            press.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        };
        try
        {
            var options = Options.Parse(args);
            if (options.Help)
                Console.WriteLine(Options.HelpText);
            else if (options.Pretrain)
                await PretrainAsync(options, cancellation.Token);
            else
                await FederateAsync(options, cancellation.Token);
            return 0;
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("Stopped.");
            return 130;
        }
        catch (UsageException e)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
        catch (Exception e) when (e is NoTextException or FedIcuException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static async Task FederateAsync(Options options, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        string output = options.Out ?? Path.Combine("artifacts", "federated-languages");
        (List<DomainText> domains, DomainText general) = Texts.Choose(options);
        List<ClientText> clients = Texts.Split(domains, options.ClientsPerDomain);
        if (options.Attack is { } attack && attack.Attackers >= clients.Count)
        {
            throw new UsageException(string.Create(CultureInfo.InvariantCulture,
                $"'--attackers {attack.Attackers}': there are {clients.Count} clients, and fewer attackers were expected."));
        }

        LanguageModel model = Federation.LoadBase(Path.Combine(AppContext.BaseDirectory, BaseFile));
        var start = new Adapter(Federation.RandomOf(options.Seed, 0, 0));
        // under attack the strategies are compared with an honest federation, otherwise with local training
        Adapter[] alone = options.Attack is null ? new Adapter[clients.Count] : [];
        byte[] serverText = Texts.OfServer(domains);
        List<(string Name, Federation Federation)> federations =
            [.. options.Strategies.Select(strategy => (strategy.Name, Create(strategy, strategy.Name, options.Attack)))];
        if (options.Attack is not null)
            federations.Insert(0, (NoAttack, Create(StrategyChoice.Choose(["fedavg"], [], options.Seed)[0], "no-attack", attack: null)));
        foreach ((_, Federation federation) in federations)
            await federation.CheckAsync(start, cancellationToken);
        List<Adapter> results = [];
        double[][] bits = [];
        await Display.RunAsync(async display =>
        {
            long steps = (long)clients.Count * options.Rounds * options.Steps;
            Action tick;
            if (alone.Length > 0)
            {
                tick = display.Begin("local training", steps);
                Cores.Run(clients.Count, client =>
                {
                    alone[client] = start.Copy();
                    Trainer.TrainAdapter(
                        model, alone[client], clients[client].Train, options.Rounds * options.Steps,
                        Federation.RandomOf(options.Seed, 0, client), Step(tick));
                    Federation.SaveAdapter(alone[client], Path.Combine(output, "alone", "client-" + clients[client].Name));
                }, cancellationToken);
            }

            foreach ((string name, Federation federation) in federations)
                results.Add(await federation.RunAsync(start, Step(display.Begin(name, steps)), cancellationToken));

            Adapter[] measured = [start, .. alone, .. results];
            DomainText[] texts = [.. domains, general];
            tick = display.Begin("measuring", measured.Length * texts.Length);
            bits = [.. measured.Select(_ => new double[texts.Length])];
            Cores.Run(measured.Length * texts.Length, i =>
            {
                (int adapter, int text) = Math.DivRem(i, texts.Length);
                bits[adapter][text] = Trainer.BitsPerByte(model, measured[adapter], texts[text].Test);
                tick();
            }, cancellationToken);
        });

        Federation Create(StrategyChoice strategy, string folder, Attack? attack) =>
            new(strategy, Path.Combine(output, folder), model, clients, serverText, options, attack);

        Action Step(Action tick) => () =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            tick();
        };

        List<ResultColumn> columns = [new("base", [.. bits[0]], IsReference: true)];
        if (alone.Length > 0)
            columns.AddRange(CompareAlone(clients, bits[1..(clients.Count + 1)]));
        columns.AddRange(federations.Zip(bits[(alone.Length + 1)..], (federation, result) =>
            new ResultColumn(federation.Name, [.. result], IsReference: federation.Name == NoAttack)));
        ResultTable.Write([.. domains.Select(domain => domain.Name)], general.Name, columns);
        WriteLegend(options.Attack, clients);
        if (options.Attack is not null)
            Draw(options.Attack, clients, columns, Path.Combine(output, "attack.svg"));
        WriteSummary(options, federations, output);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0} s"));
    }

    /// <summary>Makes the columns of the adapters that the clients trained alone.</summary>
    private static ResultColumn[] CompareAlone(List<ClientText> clients, double[][] alone)
    {
        int[] texts = [.. Enumerable.Range(0, alone[0].Length)];
        return
        [
            new("own alone", [.. texts.Select(text => Mean(text, client => client.Domain == text))], IsReference: true),
            new("others alone", [.. texts.Select(text => Mean(text, client => client.Domain != text))], IsReference: true),
        ];

        double? Mean(int text, Func<ClientText, bool> isMeant) =>
            alone.Zip(clients).Where(pair => isMeant(pair.Second)).Average(pair => (double?)pair.First[text]);
    }

    private static void WriteLegend(Attack? attack, List<ClientText> clients)
    {
        Console.WriteLine();
        if (attack is null)
        {
            Console.WriteLine("base: before training. own alone: after the same number of steps on the client's own text only.");
            Console.WriteLine("others alone: the mean of the other clients' local adapters on the same text.");
            Console.WriteLine("The last columns: one adapter for all clients, after the rounds of the federation.");
            return;
        }

        Console.WriteLine($"base: before training. {NoAttack}: fedavg with {clients.Count} honest clients.");
        Console.WriteLine($"The last columns: {Attackers(attack, clients)} attack. They {attack.Description}.");
    }

    private static void Draw(Attack attack, List<ClientText> clients, List<ResultColumn> columns, string path)
    {
        Console.WriteLine();
        BarChart.Write(columns);
        BarChart.Save(columns, $"Bits per byte (lower is better): {attack.Kind} by {Attackers(attack, clients)}", path);
        Console.WriteLine();
        Console.WriteLine($"The bars are the mean row, and also in {path}.");
    }

    private static string Attackers(Attack attack, List<ClientText> clients)
    {
        string names = string.Join(", ", clients.Take(attack.Attackers).Select(client => client.Name));
        return string.Create(CultureInfo.InvariantCulture, $"{attack.Attackers} of {clients.Count} clients ({names})");
    }

    private static void WriteSummary(Options options, List<(string Name, Federation Federation)> federations, string output)
    {
        Console.WriteLine();
        foreach ((string name, Federation federation) in federations)
        {
            double dense = federation.BytesDense, sent = federation.BytesSent;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name}: each client uploaded {sent / 1024:0} KiB in {options.Rounds} rounds; " +
                $"whole adapters are {dense / 1024:0} KiB ({sent / dense:P0})."));
        }

        Federation last = federations[^1].Federation;
        Console.WriteLine();
        Console.WriteLine($"The adapters of every round are in {output}. To see each client's influence in the last round:");
        Console.WriteLine($"  dotnet run -c Release --project src/FedICU.Cli -- explain {last.RoundArguments(options.Rounds)}");
    }

    /// <summary>Trains the base model and saves it in --out or, by default, in the sample's own folder.</summary>
    private static async Task PretrainAsync(Options options, CancellationToken cancellationToken)
    {
        string folder = options.Out ?? SourceFolder();
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, BaseFile);
        DomainText text = Texts.General(options);
        var random = new Random(options.Seed);
        var model = new LanguageModel(random);
        // a little noise, so that the base predicts unseen bytes as unlikely and not as impossible
        byte[] noise = new byte[text.Train.Length / NoiseShare];
        random.NextBytes(noise);
        byte[] mixed = [.. text.Train, .. noise];
        int steps = options.Quick ? QuickPretrainingSteps : PretrainingSteps;
        await Display.RunAsync(display =>
        {
            Action tick = display.Begin("training the base", steps);
            Trainer.TrainBase(model, mixed, steps, random, () =>
            {
                cancellationToken.ThrowIfCancellationRequested();
                tick();
            });
            return Task.CompletedTask;
        });
        Federation.SaveBase(model, path);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{path}: {Trainer.BitsPerByte(model, null, text.Test):0.000} bits per byte of {text.Name}"));
    }

    private static string SourceFolder([CallerFilePath] string file = "") =>
        Path.GetDirectoryName(file) is { } folder && Directory.Exists(folder)
            ? folder
            : throw new NoTextException("The sample's source folder does not exist any more; give a folder for the base with --out DIR.");
}
