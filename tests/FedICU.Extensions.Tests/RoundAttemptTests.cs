using FedICU.Tests;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>Rounds that begin again under their number: the attempt, and uploads meanwhile.</summary>
internal sealed class RoundAttemptTests : RoundsFixture
{
    [Test]
    public async Task TheStatusCountsAttemptsAlsoAfterARestart()
    {
        var clock = new ManualClock();
        using (IHost host = await StartWithDeadlineAsync(clock))
        {
            Assert.That(Of(host).Status.Attempt, Is.EqualTo(1));
            await SendAsync(host, 1, 1);
            clock.Advance(TimeSpan.FromHours(2));
            await WaitForAttemptAsync(host, 2);
            Assert.That(Of(host).Status, Has.Property("Number").EqualTo(1).And.Property("IsOpen").True.And.Property("Clients").Empty);
            Assert.That(
                Of(host).Status.LastFailure, Is.EqualTo("At the deadline 1 of 3 expected clients had sent an update; at least 2 must."));
            await SendAsync(host, 1, 1);
            await host.StopAsync();
        }

        using IHost again = await StartWithDeadlineAsync(clock);
        Assert.That((Of(again).Status.Attempt, Of(again).Status.Clients.Count), Is.EqualTo((2, 1)));
        await SendAsync(again, 1, 2);
        clock.Advance(TimeSpan.FromHours(2));
        await Of(again).WaitForRoundAsync(2).WaitAsync(Patience);
        Assert.That(Of(again).Status.Attempt, Is.EqualTo(1));
        await again.StopAsync();
        Assert.That(Directory.GetDirectories(Path.Combine(Place, "1")), Is.Empty, "the sessions of all attempts are removed");
    }

    /// <summary>A file in the place of the next session keeps the round from being opened again.</summary>
    [Test]
    public async Task AnUploadWhileARoundIsOpenedAgainMayBeSentAgainSoon()
    {
        using IHost host = await StartAsync(more: options =>
        {
            options.CheckValues = false;
            options.RetryDelay = TimeSpan.FromMilliseconds(20);
        });
        string obstacle = Path.Combine(Place, "1", "session-2");
        System.IO.File.WriteAllText(obstacle, "");
        await SendAsync(host, 1, 1);
        await SendNonFiniteAsync(host, 1, "bad");
        await SendNonFiniteAsync(host, 1, "worse");
        RoundRejectedException? refused = null;
        while (refused?.Fault != RoundFault.NotOpen)
        {
            // until the aggregation is over the round is sealed, and the update too late for this attempt
            refused = Assert.ThrowsAsync<RoundRejectedException>(() => SendAsync(host, 1, 2));
            Assert.That(refused!.Fault, Is.EqualTo(RoundFault.NotOpen).Or.EqualTo(RoundFault.Late));
            await Task.Delay(5);
        }

        Assert.That(
            refused.ClientMessage, Is.EqualTo("Client 'client-2': round 1 is not open yet; the update may be sent again soon."));
        Assert.That(Of(host).Status, Has.Property("IsOpen").False.And.Property("Attempt").EqualTo(1));
        Assert.ThrowsAsync<RoundRejectedException>(() => SendAsync(host, 2, 2));
        System.IO.File.Delete(obstacle);
        await WaitForAttemptAsync(host, 2);
        for (int client = 1; client <= 3; client++)
            Assert.That((await SendAsync(host, 1, client)).IsRepeated, Is.False);
        await Of(host).WaitForRoundAsync(2).WaitAsync(Patience);
        Assert.That(Bits(Of(host).FindModel(2)!), Is.EqualTo(Expect("fedavg", 1)[0]));
    }

    [Test]
    public async Task ARoundBeginsAgainIfTooFewClientsRemain()
    {
        using IHost host = await StartAsync(more: options => options.CheckValues = false);
        await SendAsync(host, 1, 1);
        await SendNonFiniteAsync(host, 1, "bad");
        await SendNonFiniteAsync(host, 1, "worse");
        await WaitForAttemptAsync(host, 2);
        Assert.That(Of(host).Status.LastFailure, Does.StartWith("1 of 3 clients remains; the quorum is 2. Client 'bad'"));
    }

    [Test]
    public async Task WithoutDroppingThePoliciesRefuseTheRound()
    {
        using IHost host = await StartAsync(more: options => (options.CheckValues, options.DropFaultyClients) = (false, false));
        await SendAsync(host, 1, 1);
        await SendAsync(host, 1, 2);
        await SendNonFiniteAsync(host, 1, "bad");
        await WaitForAttemptAsync(host, 2);
        Assert.That(Of(host).Status.LastFailure, Does.StartWith("Client 'bad'").And.Contain("NaN or infinite"));
    }

    [Test]
    public async Task TheNewestRoundsAreListedAndEveryReportIsFound()
    {
        for (int start = 0; start < 2; start++)
        {
            using IHost host = await StartAsync(more: options => (options.ExpectedClients, options.ListedRounds) = (1, 2));
            FederatedRounds rounds = Of(host);
            for (long round = rounds.Status.Number; round <= 3; round++)
            {
                Assert.That(rounds.FindReport(round), Is.Null);
                await SendAsync(host, round, 1);
                await rounds.WaitForRoundAsync(round + 1).WaitAsync(Patience);
            }

            Assert.That(rounds.Finished.Select(round => (round.Number, round.Included)), Is.EqualTo(new[] { (2L, 1), (3L, 1) }));
            Assert.That(
                Enumerable.Range(1, 3).Select(round => rounds.FindReport(round)),
                Is.EqualTo(Enumerable.Range(1, 3).Select(round => Path.Combine(Place, $"{round}", "report.json"))));
            Assert.That(rounds.FindReport(4), Is.Null);
            await host.StopAsync();
        }
    }

    private static async Task WaitForAttemptAsync(IHost host, int attempt)
    {
        while (Of(host).Status.Attempt < attempt)
            await Task.Delay(5);
    }

    private Task<IHost> StartWithDeadlineAsync(ManualClock clock) => StartAsync(
        more: options => (options.MinimumClients, options.Deadline) = (2, TimeSpan.FromHours(2)),
        add: services => services.AddSingleton<TimeProvider>(clock));
}
