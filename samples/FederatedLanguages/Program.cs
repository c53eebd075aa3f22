using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using FedICU;

namespace FederatedLanguages;

internal static class Program
{
    private const string BaseFile = "base.safetensors";

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
        (List<DomainText> clients, DomainText general) = Texts.Choose(options);
        LanguageModel model = Federation.LoadBase(Path.Combine(AppContext.BaseDirectory, BaseFile));
        var start = new Adapter(Federation.RandomOf(options.Seed, 0, 0));
        Adapter[] alone = new Adapter[clients.Count];
        Federation[] federations =
            [.. options.Aggregators.Select(name => new Federation(name, Path.Combine(output, name), model, clients, options))];
        List<Adapter> results = [];
        double[][] bits = [];
        await Display.RunAsync(async display =>
        {
            long steps = (long)clients.Count * options.Rounds * options.Steps;
            Action tick = display.Begin("local training", steps);
            Cores.Run(clients.Count, client =>
            {
                alone[client] = start.Copy();
                Trainer.TrainAdapter(
                    model, alone[client], clients[client].Train, options.Rounds * options.Steps,
                    Federation.RandomOf(options.Seed, 0, client), Step(tick));
                Federation.SaveAdapter(alone[client], Path.Combine(output, "alone", "client-" + clients[client].Name));
            }, cancellationToken);
            foreach ((string name, Federation federation) in options.Aggregators.Zip(federations))
                results.Add(await federation.RunAsync(start, Step(display.Begin(name, steps)), cancellationToken));

            Adapter[] measured = [start, .. alone, .. results];
            DomainText[] domains = [.. clients, general];
            tick = display.Begin("measuring", measured.Length * domains.Length);
            bits = [.. measured.Select(_ => new double[domains.Length])];
            Cores.Run(measured.Length * domains.Length, i =>
            {
                (int adapter, int domain) = Math.DivRem(i, domains.Length);
                bits[adapter][domain] = Trainer.BitsPerByte(model, measured[adapter], domains[domain].Test);
                tick();
            }, cancellationToken);
        });

        Action Step(Action tick) => () =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            tick();
        };

        ResultTable.Write(options, [.. clients.Select(client => client.Name)], general.Name, bits);
        WriteSummary(options, federations, output);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0} s"));
    }

    private static void WriteSummary(Options options, Federation[] federations, string output)
    {
        Console.WriteLine();
        foreach ((string name, Federation federation) in options.Aggregators.Zip(federations))
        {
            double dense = federation.BytesDense, sent = federation.BytesSent;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name}: each client uploaded {sent / 1024:0} KiB in {options.Rounds} rounds; " +
                $"whole adapters are {dense / 1024:0} KiB ({sent / dense:P0})."));
        }

        Federation last = federations[^1];
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
